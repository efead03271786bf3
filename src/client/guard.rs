//! A held lock of the library, and how it is given back when nobody says so.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};
use tracing::warn;

use super::{
    Client, Given, Hold, HoldStatus, HoldWatcher, Loss, Parting, ReleaseError, last_resort, staying::Staying,
};
use crate::lock::{Ending, Fence, LockName, LockState, Moment, Term, Token};

/// How long a dropped [`Guard`] tries to give its lock back while its runtime lives.
pub const DROP_IN_BACKGROUND: Duration = Duration::from_secs(60);

/// How long it may take then to write down for the lock's history how the hold ended.
const LAST_RECORD: Duration = Duration::from_millis(500);

/// A held lock of the library. [`Guard::release`] gives it back and says whether that worked.
///
/// A drop gives it back as well, as far as that is possible:
/// - in a Tokio runtime it does so in the background, for [`DROP_IN_BACKGROUND`] at most, and blocks nobody;
/// - where the runtime ends before that is done (`main` returns early), the end of the runtime waits for it, for
///   [`DROP_BLOCKS`](super::DROP_BLOCKS) at most; so does a drop outside of a runtime. (`Runtime::shutdown_background`
///   waits too.)
/// - what could not be given back then, and the holds of a process that is killed or leaves by `process::exit`, end
///   with their lease, or at once on the local store.
///
/// ```
/// # use pipeline_lock::{Client, Lock};
/// # let folder = tempfile::tempdir().unwrap();
/// # let file = folder.path().join("locks.db");
/// let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
/// runtime()?.block_on(async {
///     let client = Client::local(&file).await?;
///     let _guard = Lock::new("shop/production")?.acquire(&client).await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// runtime()?.block_on(async {
///     let client = Client::local(&file).await?;
///     assert!(Lock::new("shop/production")?.try_acquire(&client).await?.is_some());
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped at once, the lock is given back"]
pub struct Guard {
    client: Client,
    hold: Option<Hold>,
    staying: Option<Arc<Staying>>,
    resources: Vec<String>,
}

impl Guard {
    pub(super) const fn new(
        client: Client,
        hold: Hold,
        staying: Option<Arc<Staying>>,
        resources: Vec<String>,
    ) -> Self {
        Self { client, hold: Some(hold), staying, resources }
    }

    fn hold(&self) -> &Hold {
        self.hold.as_ref().expect("a guard has its hold until it is released")
    }

    /// The lock.
    pub fn name(&self) -> &LockName {
        self.hold().name()
    }

    /// The fencing number of this hold: greater than that of every earlier grant of this lock. What the work writes
    /// to can refuse smaller ones.
    pub fn fence(&self) -> Fence {
        self.hold().fence()
    }

    /// Which one of the lock's places it has, from 0: those who hold it at once have different ones, but for the
    /// members of a pipeline, who share one.
    pub fn slot(&self) -> u32 {
        self.hold().slot()
    }

    /// What the place is called, where [`Lock::resources`](super::Lock::resources) named them.
    pub fn resource(&self) -> Option<&str> {
        self.resources.get(self.slot() as usize).map(String::as_str)
    }

    /// How long it was waited for.
    pub fn waited(&self) -> Duration {
        self.hold().waited()
    }

    /// How the hold stands, without asking the store.
    pub fn status(&self) -> HoldStatus {
        self.hold().status()
    }

    /// Returns when the work must end, `margin` before the lease does at the latest.
    pub async fn lost(&self, margin: Duration) -> Loss {
        self.hold().lost(margin).await
    }

    /// A watcher of the hold, for another task.
    pub fn watcher(&self) -> HoldWatcher {
        self.hold().watcher()
    }

    /// Gives the lock back, and says what became of it. Goes on trying for as long as the hold could last otherwise. Who
    /// drops the future leaves the rest to the background, as a drop of the guard does.
    ///
    /// # Errors
    /// [`ReleaseError`]: it is not known to be released.
    pub async fn release(mut self) -> Result<Given, ReleaseError> {
        let until = self.hold().deadline();
        match self.let_go() {
            Some(giving) => giving.give(until).await,
            None => Ok(Given::Back),
        }
    }

    fn let_go(&mut self) -> Option<Giving> {
        let hold = self.hold.take()?;
        let (parting, ending) = (hold.parting(), hold.ending(false));
        let (name, token, known) = hold.let_go();
        let (client, staying) = (self.client.clone(), self.staying.take());
        let work = Work { client, name, token, known, parting, ending, staying };
        Some(Giving { work: Some(work), in_background: false })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.let_go());
    }
}

/// A hold on its way back. Dropped before it is there, it goes on in the background, or for a moment without a runtime.
struct Giving {
    work: Option<Work>,
    in_background: bool,
}

struct Work {
    client: Client,
    name: LockName,
    token: Token,
    known: LockState,
    parting: Parting,
    ending: Option<Ending>,
    staying: Option<Arc<Staying>>,
}

impl Giving {
    async fn give(mut self, until: Option<Moment>) -> Result<Given, ReleaseError> {
        let Some(work) = &self.work else { return Ok(Given::Back) };
        let given = work.give(until).await;
        if given.is_err() {
            work.leave();
        }
        self.work = None;
        given
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        match Handle::try_current() {
            // In a runtime that is about to end the task is dropped, and comes here once more.
            Ok(runtime) if !self.in_background => {
                let giving = Self { work: Some(work), in_background: true };
                runtime.spawn(async move {
                    let until = giving.work.as_ref().map(|work| work.after(DROP_IN_BACKGROUND));
                    if let Err(error) = giving.give(until).await {
                        warn!(%error, "a dropped guard's lock is not known to be given back");
                    }
                });
            }
            _ => work.give_blocking(),
        }
    }
}

impl Work {
    fn after(&self, patience: Duration) -> Moment {
        self.client.clock().now().plus(patience)
    }

    async fn give(&self, until: Option<Moment>) -> Result<Given, ReleaseError> {
        let known = Some(self.known.clone());
        let given = self.client.give_back(&self.name, self.token, known, self.parting, until).await?;
        self.look_for_what_comes_late();
        self.ending.iter().for_each(|ending| self.client.record(&self.name, ending.clone()));
        Ok(given)
    }

    /// A write of the request that was never answered, before another one was granted, may find the lock free now.
    fn look_for_what_comes_late(&self) {
        let Some(Term::Live { lease: Some(lease), .. }) = self.known.holder(self.token).map(|h| h.term)
        else {
            return;
        };
        if self.client.is_unsettled(&self.name, self.token) {
            let (client, name, token) = (self.client.clone(), self.name.clone(), self.token);
            tokio::spawn(async move { client.take_back_late(&name, token, lease).await });
        }
    }

    fn give_blocking(&self) {
        let given = last_resort::block_on(
            |time| self.give(Some(self.after(time))),
            || async { timeout(LAST_RECORD, self.client.recorded()).await },
        );
        if given.is_none() {
            self.leave();
            warn!(lock = %self.name, "a dropped guard's lock could not be given back in time");
        }
    }

    /// The hold may stand: its file is not to go in good order.
    fn leave(&self) {
        self.staying.iter().for_each(|staying| staying.leave_the_file());
    }
}
