//! The library's way to a lock: say which, wait, get a guard.

use std::time::Duration;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::{AcquireError, AcquireOptions, Client, Hold, HoldStatus, Loss, Progress, Record, ReleaseError};
use crate::{
    host::presence::{Presence, PresenceError},
    lock::{EpochMs, Fence, LockName, Mode, NameError, Owner, Request, Term, Token, Who},
    store::{Liveness, StoreError},
};

/// The lease of a hold, unless told otherwise: how long a lock stays taken when its holder's host dies.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// How long an acquire waits, unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(50 * 60);

/// A lock to be acquired: its name and how.
///
/// ```
/// # use pipeline_lock::{Client, Lock};
/// # use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// let client = Client::local(folder.path().join("locks.db")).await?;
/// let guard = Lock::new("shop/production")?.wait(Duration::from_secs(5)).acquire(&client).await?;
/// println!("held with fence {}", guard.fence());
/// guard.release().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    name: LockName,
    owner: Option<Owner>,
    lease: Duration,
    wait: Duration,
    who: Who,
}

impl Lock {
    /// The lock `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let who = Who { host: crate::host::clock::hostname(), ..Who::default() };
        Ok(Self { name: LockName::new(name)?, owner: None, lease: DEFAULT_LEASE, wait: DEFAULT_WAIT, who })
    }

    /// Waits at most this long (default: 50 minutes); zero takes it or fails at once.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The lease (default: 60 s): how long the lock stays taken when this host dies. It is renewed four times
    /// in that time. A store on one host needs none.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Who asks, for those who wait behind (default: this host's name).
    #[must_use]
    pub fn who(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// On whose behalf (default: this one request's). The tokens of one [`Owner::pipeline`] share one hold.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Acquires the lock, waiting as long as was said.
    pub async fn acquire(self, client: &Client) -> Result<Guard, AcquireError> {
        self.acquire_with(client, |_| {}).await
    }

    /// The same; `news` hears where the request stands.
    pub async fn acquire_with(
        self,
        client: &Client,
        news: impl FnMut(Progress) + Send,
    ) -> Result<Guard, AcquireError> {
        let token = Token::new(Uuid::new_v4());
        let refused = |e: PresenceError| AcquireError::Store {
            name: self.name.clone(),
            error: StoreError::Refused(e.to_string()),
        };
        let here = client.here().map(|here| here.claim(token, &Record::of_this_process(None)));
        let presence = here.transpose().map_err(refused)?;
        let request = Request {
            owner: self.owner.unwrap_or_else(|| Owner::alone(token)),
            token,
            replaces: None,
            mode: Mode::Exclusive,
            limit: Mode::Exclusive.default_limit(),
            priority: 0,
            order: crate::lock::Order::First,
            line: None,
            max_queue: None,
            term: live_term(client, self.lease),
            who: self.who,
            since: EpochMs(0),
            force_after: None,
        };
        let mut pending = Pending {
            client: client.clone(),
            name: self.name.clone(),
            token,
            presence,
            lease: self.lease,
            settled: false,
        };
        let options = AcquireOptions::waiting(self.wait);
        let hold = client.acquire(&self.name, request, options, news).await?;
        pending.settled = true;
        Ok(Guard { client: client.clone(), hold: Some(hold), presence: pending.presence.take() })
    }
}

/// The term of a hold that this process watches over.
pub(crate) fn live_term(client: &Client, lease: Duration) -> Term {
    let lease = match client.store().liveness() {
        Liveness::Lease => Some(lease),
        Liveness::KernelLock => None,
    };
    Term::Live { beat: crate::lock::Beat(0), lease }
}

/// A request under way: dropped before it is settled, it leaves the queue.
struct Pending {
    client: Client,
    name: LockName,
    token: Token,
    presence: Option<Presence>,
    lease: Duration,
    settled: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.settled {
            return;
        }
        let (client, name, token, lease) = (self.client.clone(), self.name.clone(), self.token, self.lease);
        let presence = self.presence.take();
        runtime.spawn(async move {
            if client.withdraw(&name, token).await.is_ok() {
                remove(presence);
            }
            client.take_back_late(&name, token, lease).await;
        });
    }
}

/// A file that can't be removed is taken for a dead holder's later, and goes then.
fn remove(presence: Option<Presence>) {
    if let Some(Err(error)) = presence.map(Presence::remove) {
        tracing::debug!(%error, "the file of a released hold stays");
    }
}

/// A held lock of the library. [`Guard::release`] gives it back and says whether that worked; a drop does so
/// in the background as far as the runtime lives, else the lease ends it.
#[derive(Debug)]
pub struct Guard {
    client: Client,
    hold: Option<Hold>,
    presence: Option<Presence>,
}

impl Guard {
    fn hold(&self) -> &Hold {
        self.hold.as_ref().expect("a guard has its hold until it is released")
    }

    /// The fencing number of this hold.
    pub fn fence(&self) -> Fence {
        self.hold().fence()
    }

    /// How the hold stands, without asking the store.
    pub fn status(&self) -> HoldStatus {
        self.hold().status()
    }

    /// Returns when the work must end, `margin` before the lease does at the latest.
    pub async fn lost(&self, margin: Duration) -> Loss {
        self.hold().lost(margin).await
    }

    /// Gives the lock back.
    pub async fn release(mut self) -> Result<(), ReleaseError> {
        let (hold, presence) = (self.hold.take(), self.presence.take());
        if let Some(hold) = hold {
            hold.release().await?;
        }
        remove(presence);
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let presence = self.presence.take();
        let client = self.client.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let (name, token, ending) = (hold.name().clone(), hold.token(), hold.ending(false));
                drop(hold);
                if client.withdraw(&name, token).await.is_ok() {
                    ending.into_iter().for_each(|ending| client.record(&name, ending));
                    remove(presence);
                }
            });
        }
    }
}
