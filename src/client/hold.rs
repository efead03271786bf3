//! A lock that is held: renewed in the background, lost with a signal before its lease ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{AcquireOptions, Client, Given, HoldWatcher, Parting, ReleaseError};
use crate::{
    lock::{Beat, Ending, Fence, How, LockName, LockState, Moment, Owner, Request, Standing, Term, Token},
    store::{Liveness, Renewal, StoreError},
};

/// A lease is renewed four times in its length.
const BEATS_PER_LEASE: u32 = 4;

/// How often a hold by kernel lock looks after itself: whether somebody asks for its end.
const LOOK_AFTER: Duration = Duration::from_secs(15);

/// How often it looks whether its bell was rung: one `stat`, where listening would cost each short job the time
/// that closing an inotify instance takes.
const BELL_EVERY: Duration = Duration::from_secs(1);

/// After a renewal that failed, the next one comes after this time.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// How a hold stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldStatus {
    /// It is held, and proven so until `deadline`; `None`: for as long as this process lives.
    Held {
        /// Until when nobody else can hold the lock.
        deadline: Option<Moment>,
    },
    /// It is not to go on.
    Lost {
        /// Why.
        loss: Loss,
        /// Until when it was proven: whoever watches over the work's end needs it now more than ever.
        deadline: Option<Moment>,
    },
}

impl HoldStatus {
    /// Until when the hold is proven; `None`: for as long as this process lives.
    pub const fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Held { deadline } | Self::Lost { deadline, .. } => *deadline,
        }
    }

    /// Why it is not to go on, if so.
    pub const fn loss(&self) -> Option<&Loss> {
        match self {
            Self::Held { .. } => None,
            Self::Lost { loss, .. } => Some(loss),
        }
    }
}

/// Why a hold is not to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Somebody asks for its end. It is still held: stop the work, then release.
    Revoked {
        /// Who asks.
        by: String,
    },
    /// A newer try of the same job has taken it over.
    Superseded,
    /// It was evicted, or the document was deleted: somebody else may hold the lock.
    Gone,
    /// It could not be renewed, and its lease is about to end.
    Expiring {
        /// When it ends.
        deadline: Moment,
        /// What the last renewal said.
        cause: String,
    },
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Revoked { by } => write!(f, "it was revoked by {by}"),
            Self::Superseded => f.write_str("a newer try of the same job has taken it over"),
            Self::Gone => f.write_str("somebody else removed the hold"),
            Self::Expiring { cause, .. } => write!(f, "it could not be renewed in time: {cause}"),
        }
    }
}

/// A grant, fresh from the store.
pub(super) struct Grant {
    pub(super) state: LockState,
    pub(super) request: Request,
    /// Whether it goes on with a hold that its pipeline had left standing.
    pub(super) picked_up: bool,
    /// When the request that made it was sent: the lease counts from here.
    pub(super) sent: Moment,
    pub(super) waited: Duration,
}

/// A held lock. Dropping it stops the renewals, and the hold ends with its lease (or, by kernel lock, with
/// this process); [`Hold::release`] gives it back at once.
#[derive(Debug)]
pub struct Hold {
    keeper: Keeper,
    fence: Fence,
    slot: u32,
    waited: Duration,
    picked_up: bool,
    parting: Parting,
    since: Moment,
    status: watch::Receiver<HoldStatus>,
    /// Its watchers go on for as long as this lives: the renewals may end before the hold does, with their runtime.
    _telling: watch::Sender<HoldStatus>,
    renewing: Option<JoinHandle<()>>,
}

/// What renewals and the release share.
#[derive(Clone)]
struct Keeper {
    client: Client,
    name: LockName,
    owner: Owner,
    token: Token,
    known: Arc<Mutex<LockState>>,
    /// Asks for a renewal now.
    hurry: Arc<Notify>,
    trouble: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("name", &self.name).field("token", &self.token).finish_non_exhaustive()
    }
}

impl Hold {
    pub(super) fn begin(client: Client, name: LockName, grant: Grant, options: &AcquireOptions) -> Self {
        let Grant { state, request, picked_up, sent, waited } = grant;
        let (fence, slot, term) = match state.holder(request.token) {
            Some(holder) => (state.fence_of(holder), holder.slot, holder.term),
            None => (state.fence, 0, request.term),
        };
        let lease = match term {
            Term::Live { lease, .. } => lease,
            Term::Static { .. } => None,
        };
        let (sender, status) = watch::channel(HoldStatus::Held { deadline: lease.map(|l| sent.plus(l)) });
        let keeper = Keeper {
            client,
            name,
            owner: request.owner,
            token: request.token,
            known: Arc::new(Mutex::new(state)),
            trouble: watch::Sender::new(None),
            hurry: Arc::default(),
        };
        let renewing = match term {
            Term::Live { beat, lease } => {
                let every =
                    options.heartbeat.or_else(|| Some(lease? / BEATS_PER_LEASE)).unwrap_or(LOOK_AFTER);
                let renewals = keeper.clone().renew_for_ever(sender.clone(), beat, lease, every, sent);
                Some(tokio::spawn(renewals))
            }
            Term::Static { .. } => None,
        };
        Self {
            keeper,
            fence,
            slot,
            waited,
            picked_up,
            parting: options.parting,
            since: sent,
            status,
            _telling: sender,
            renewing,
        }
    }

    /// The lock.
    pub const fn name(&self) -> &LockName {
        &self.keeper.name
    }

    /// The incarnation that holds it.
    pub const fn token(&self) -> Token {
        self.keeper.token
    }

    /// The fencing number: greater than that of every earlier grant of this lock. What the work writes to can
    /// refuse smaller ones.
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// Which one of the lock's places it has: 0 where there is only one.
    pub const fn slot(&self) -> u32 {
        self.slot
    }

    /// How long it was waited for.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// The document as it was last seen.
    pub fn known(&self) -> LockState {
        self.keeper.known()
    }

    /// How it stands now, without asking the store and without waiting for anything.
    pub fn status(&self) -> HoldStatus {
        self.status.borrow().clone()
    }

    /// Until when the hold is proven; `None`: for as long as this process lives.
    pub fn deadline(&self) -> Option<Moment> {
        self.status.borrow().deadline()
    }

    /// A receiver of each change of the status, for other tasks.
    pub fn watch(&self) -> watch::Receiver<HoldStatus> {
        self.status.clone()
    }

    /// A watcher of this hold, for another task.
    pub fn watcher(&self) -> HoldWatcher {
        let Client { store, clock, .. } = &self.keeper.client;
        HoldWatcher::new(
            self.status.clone(),
            self.keeper.trouble.subscribe(),
            clock.clone(),
            store.describe(),
        )
    }

    /// As [`HoldWatcher::lost`].
    pub async fn lost(&self, margin: Duration) -> Loss {
        self.watcher().lost(margin).await
    }

    /// Why renewals are not answered now, if so: told once for each outage, and when it is over.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.keeper.trouble.subscribe()
    }

    /// Renews now, without waiting for the next time.
    pub fn renew_now(&self) {
        self.keeper.hurry.notify_one();
    }

    /// How it will be given back.
    pub const fn parting(&self) -> Parting {
        self.parting
    }

    /// What the lock's history is to say of this hold if it ends now, by its holder's doing; `None` if somebody
    /// else has ended it already, or taken it over. `is_lost`: its work was stopped because the hold could not
    /// be proven any longer.
    pub fn ending(&self, is_lost: bool) -> Option<Ending> {
        let how = match self.status().loss() {
            Some(Loss::Superseded | Loss::Gone) => return None,
            Some(Loss::Revoked { .. }) => How::Revoked,
            Some(Loss::Expiring { .. }) => How::Lost,
            None if is_lost => How::Lost,
            None => How::Released,
        };
        let known = self.known();
        let holder = known.holder(self.token())?;
        let held = self.keeper.client.clock.now().since(self.since);
        Some(Ending::of(&known, holder, self.waited, held, how))
    }

    /// Ends the renewals and leaves the release to the caller: the lock, the token, and the document as it was
    /// last seen, for [`Client::withdraw_until`].
    pub fn let_go(mut self) -> (LockName, Token, LockState) {
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
        (self.keeper.name.clone(), self.keeper.token, self.keeper.known())
    }

    /// Gives the lock back, and says what became of it. Goes on trying for as long as the hold could last otherwise.
    pub async fn release(self) -> Result<Given, ReleaseError> {
        let (parting, ending) = (self.parting, self.ending(false));
        let (client, name) = (self.keeper.client.clone(), self.keeper.name.clone());
        let given = self.release_by(parting).await?;
        ending.into_iter().for_each(|ending| client.record(&name, ending));
        Ok(given)
    }

    /// Gives back what nothing was done under: nothing is left standing but what stood before, and the history knows
    /// nothing of it.
    pub(super) async fn put_back(self) -> Result<Given, ReleaseError> {
        let parting = if self.picked_up { self.parting } else { Parting::Alone };
        self.release_by(parting).await
    }

    async fn release_by(mut self, parting: Parting) -> Result<Given, ReleaseError> {
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
        let Keeper { client, name, token, .. } = &self.keeper;
        let known = Some(self.keeper.known());
        client.give_back(name, *token, known, parting, self.deadline()).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
    }
}

impl Keeper {
    fn known(&self) -> LockState {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, state: LockState) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Renews until the hold is lost. A renewal that fails is tried again and again: only the deadline, which
    /// others watch on a timer of their own, ends the hold.
    async fn renew_for_ever(
        self,
        status: watch::Sender<HoldStatus>,
        mut beat: Beat,
        lease: Option<Duration>,
        every: Duration,
        mut sent: Moment,
    ) {
        let mut mark = self.mark();
        let mut next = sent.plus(every);
        loop {
            self.until(next, &mut mark).await;
            let (started, renewal) = self.renew(&mut beat, lease).await;
            match renewal {
                Ok(Renewal::Renewed(state)) => {
                    self.note_trouble(None);
                    sent = started;
                    let loss = match state.standing(self.token, &self.owner) {
                        Standing::Revoked { by } => Some(Loss::Revoked { by }),
                        _ => None,
                    };
                    self.remember(state);
                    self.tell(&status, loss, lease.map(|lease| sent.plus(lease)));
                    next = started.plus(every);
                }
                Ok(Renewal::Gone(state)) => {
                    let taken = state.is_some_and(|s| s.is_taken_over(self.token, &self.owner));
                    let loss = if taken { Loss::Superseded } else { Loss::Gone };
                    let deadline = status.borrow().deadline();
                    self.tell(&status, Some(loss), deadline);
                    return;
                }
                Err(error) => {
                    warn!(lock = %self.name, %error, "a renewal failed");
                    self.note_trouble(Some(error.to_string()));
                    next = self.client.clock.now().plus(RENEW_AGAIN.min(every));
                }
            }
        }
    }

    /// One renewal, and when it was sent. One that is not answered within a quarter of a short lease has another beside
    /// it: over another connection that may be quicker, and the lease has no room for one after the other.
    async fn renew(&self, beat: &mut Beat, lease: Option<Duration>) -> (Moment, Result<Renewal, StoreError>) {
        let Client { store, clock, .. } = &self.client;
        // Each has a number of its own, above all before.
        let mut ask = || {
            *beat = beat.next();
            let (beat, sent) = (*beat, clock.now());
            async move { (sent, store.renew(&self.name, self.token, beat).await) }
        };
        let first = ask();
        let Some(patience) = lease.map(|l| l / BEATS_PER_LEASE).filter(|p| *p < store.request_deadline())
        else {
            return first.await;
        };
        let late = clock.now().plus(patience);
        tokio::pin!(first);
        tokio::select! {
            biased;
            answer = &mut first => return answer,
            () = clock.sleep_until(late) => {}
        }
        let second = ask();
        tokio::pin!(second);
        tokio::select! {
            biased;
            answer = &mut first => if answer.1.is_ok() { answer } else { second.await },
            answer = &mut second => if answer.1.is_ok() { answer } else { first.await },
        }
    }

    /// A loss stays one: a revoked hold is still renewed while its work ends, and stays revoked.
    fn tell(&self, status: &watch::Sender<HoldStatus>, loss: Option<Loss>, deadline: Option<Moment>) {
        status.send_if_modified(|old| {
            if let (None, Some(loss)) = (old.loss(), &loss) {
                info!(lock = %self.name, %loss, "the hold is not to go on");
            }
            let new = match old.loss().cloned().or(loss) {
                Some(loss) => HoldStatus::Lost { loss, deadline },
                None => HoldStatus::Held { deadline },
            };
            let is_new = *old != new;
            *old = new;
            is_new
        });
    }

    /// Each outage is told once, with its first cause.
    fn note_trouble(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|known| {
            let is_news = known.is_some() != trouble.is_some();
            if is_news {
                *known = trouble;
            }
            is_news
        });
    }

    /// Returns at `next`, or soon after the lock's bell has rung, or when there is a hurry.
    async fn until(&self, next: Moment, mark: &mut Option<u64>) {
        let clock = &self.client.clock;
        while clock.now() < next {
            let look = if mark.is_some() { next.min(clock.now().plus(BELL_EVERY)) } else { next };
            tokio::select! {
                biased;
                () = clock.sleep_until(look) => {}
                () = self.hurry.notified() => return,
            }
            let before = std::mem::replace(mark, self.mark());
            if before != *mark {
                return;
            }
        }
    }

    /// The mark of the lock's bell: on one host a revocation rings, and no request is spent on looking for it.
    fn mark(&self) -> Option<u64> {
        let by_bell = self.client.store.liveness() == Liveness::KernelLock;
        Some(self.client.here.as_ref().filter(|_| by_bell)?.mark(&self.name))
    }
}
