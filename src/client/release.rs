//! Giving back, leaving, and asking others to end.

use std::time::Duration;

use tracing::{debug, warn};

use super::{Client, Parting, ReleaseError};
use crate::{
    lock::{Holder, How, LockName, LockState, Moment, Owner, Token, Waiter},
    store::{Consistency, Liveness, StoreError},
};

/// The pause after a release that failed in passing: doubled each time up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The pause of those who try on whatever the store says.
const STUBBORN: Duration = Duration::from_secs(1);

/// The pause between two looks for a write that may come late: doubled each time up to the second.
const LATE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// How late a write can be that a thread of this process does.
const LATE_HERE: Duration = Duration::from_millis(300);

/// How long a request that was given up is looked for, so that a write of it that arrives late is taken back.
const WITHDRAW_FOR: Duration = Duration::from_secs(60);

/// What a release came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing is left of it.
    Back,
    /// It stands for a while, for the pipeline's next job.
    Kept,
}

impl Client {
    /// Takes back whatever `token` has of `name`, a hold or a place, but for what it has left standing for its
    /// pipeline. To be called for a request that was
    /// given up; goes on trying for a minute while the store does not answer.
    pub async fn withdraw(&self, name: &LockName, token: Token) -> Result<(), ReleaseError> {
        let until = self.clock.now().plus(WITHDRAW_FOR);
        self.give_back(name, token, None, Parting::Alone, Some(until)).await.map(drop)
    }

    /// As [`Client::withdraw`], for a holder that is known to be dead: the history says that it was evicted.
    pub async fn withdraw_dead(&self, name: &LockName, token: Token) -> Result<(), ReleaseError> {
        // What can't be seen is not recorded; the release does not depend on it.
        let before = self.look(name).await.ok().flatten();
        self.withdraw(name, token).await?;
        if let Some(before) = &before
            && let Some(holder) = before.holder(token)
        {
            self.record_removal(name, before, holder, How::Evicted);
        }
        Ok(())
    }

    /// As [`Client::withdraw`], whatever the store says, until `until`; `trouble` hears why it is not done yet. For
    /// those who have nothing else to do: policies change, credentials come back.
    pub async fn withdraw_until(
        &self,
        name: &LockName,
        token: Token,
        mut known: Option<LockState>,
        parting: Parting,
        until: Moment,
        trouble: impl Fn(&StoreError) + Send + Sync,
    ) -> Result<Given, ReleaseError> {
        loop {
            let now = self.clock.now();
            let failed = match self.give_back(name, token, known.take(), parting, Some(now)).await {
                Ok(given) => return Ok(given),
                Err(failed) => failed,
            };
            trouble(&failed.error);
            if self.clock.now() >= until {
                return Err(failed);
            }
            self.clock.sleep_until(self.clock.now().plus(STUBBORN).min(until)).await;
        }
    }

    /// Whether a write of `token` was sent that nobody answered: it may yet take effect.
    pub fn is_unsettled(&self, name: &LockName, token: Token) -> bool {
        self.unsettled.has(name, token)
    }

    /// Whether a request of `token` can have left anything in the store: a hold, or a place in the queue. One whose
    /// every write was refused has left nothing.
    pub fn may_have_left(&self, name: &LockName, token: Token) -> bool {
        self.unsettled.may_have_taken(name, token)
    }

    /// Takes back what an unanswered write of a request brings that was withdrawn since: looks for it as long as
    /// `lasting`, which is best a lease, as what comes later ends by itself. Returns at once if each write was
    /// answered. The result is whether nothing of it was left at the last look.
    pub async fn take_back_late(&self, name: &LockName, token: Token, lasting: Duration) -> bool {
        if !self.is_unsettled(name, token) {
            return true;
        }
        debug!(lock = %name, %token, "a write was not answered: it is looked for");
        let lasting = match self.store.liveness() {
            Liveness::Lease => lasting,
            // It is written by this process, or by none.
            Liveness::KernelLock => lasting.min(LATE_HERE),
        };
        let until = self.clock.now().plus(lasting);
        let (mut pause, mut is_seen) = (LATE.0, false);
        while self.clock.now() < until {
            self.clock.sleep_until(self.clock.now().plus(pause).min(until)).await;
            pause = (pause * 2).min(LATE.1);
            let now = self.clock.now();
            let given = self.give_back(name, token, None, Parting::Alone, Some(now)).await;
            is_seen = given.is_ok();
            if let Err(error) = given {
                debug!(%error, "it can't be looked for now");
            }
        }
        self.unsettled.forget(name, token);
        is_seen
    }

    /// Releases `token`, beginning from the document as it is known. Tries until `until`, and at least once.
    pub(super) async fn give_back(
        &self,
        name: &LockName,
        token: Token,
        mut known: Option<LockState>,
        parting: Parting,
        until: Option<Moment>,
    ) -> Result<Given, ReleaseError> {
        let until = until.unwrap_or_else(|| self.clock.now().plus(WITHDRAW_FOR));
        let mut pause = RETRY.0;
        loop {
            let part = |state: &mut LockState| match parting {
                Parting::Alone => state.take_back(token),
                Parting::Linger(span) => state.part(token, Some((self.store.now(), span))),
                Parting::WithThePipeline => state.part(token, None),
            };
            let error = match self.change(name, known.take(), part).await {
                Ok(state) => {
                    debug!(lock = %name, %token, ?parting, "given back");
                    self.unsettled.given_back(name, token);
                    let is_kept = state.is_some_and(|state| state.holder(token).is_some());
                    return Ok(if is_kept { Given::Kept } else { Given::Back });
                }
                Err(error) => error,
            };
            if !error.is_passing() || self.clock.now().plus(pause) >= until {
                return Err(ReleaseError { name: name.clone(), error });
            }
            warn!(lock = %name, %error, "a release failed and is tried again");
            self.clock.sleep_until(self.clock.now().plus(pause)).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Asks the holder `token` of `name` to end its work and to release; false if it holds nothing.
    pub async fn revoke(&self, name: &LockName, token: Token, by: &str) -> Result<bool, StoreError> {
        let after = self.change(name, None, |state| state.revoke(token, by)).await?;
        let is_asked = |state: LockState| state.holder(token).is_some_and(|h| h.revoked.is_some());
        Ok(after.is_some_and(is_asked))
    }

    /// Gives back those holds and places of `owner` for which `holds` and `waits` say so, on the owner's behalf. The
    /// result are the holds that were removed.
    pub async fn release_owned(
        &self,
        name: &LockName,
        owner: &Owner,
        holds: impl Fn(&Holder) -> bool + Send + Sync,
        waits: impl Fn(&Waiter) -> bool + Send + Sync,
    ) -> Result<Vec<Holder>, StoreError> {
        let mut removed = Vec::new();
        let mut before = None;
        self.change(name, None, |state| {
            before = Some(state.clone());
            removed = state.holders.iter().filter(|h| h.owner == *owner && holds(h)).cloned().collect();
            let places: Vec<Token> =
                state.queue.iter().filter(|w| w.owner == *owner && waits(w)).map(|w| w.token).collect();
            for token in removed.iter().map(|h| h.token).chain(places.iter().copied()) {
                state.release(token);
            }
            !(removed.is_empty() && places.is_empty())
        })
        .await?;
        if let Some(before) = &before {
            removed.iter().for_each(|holder| self.record_removal(name, before, holder, How::Released));
        }
        Ok(removed)
    }

    /// The document of `name` as it stands.
    pub async fn look(&self, name: &LockName) -> Result<Option<LockState>, StoreError> {
        self.store.read(name, Consistency::Strong).await
    }

    /// The lock as whoever asks for it finds it: what holds it in the document for longer than its time is left out.
    pub async fn find(
        &self,
        name: &LockName,
        consistency: Consistency,
    ) -> Result<Option<LockState>, StoreError> {
        let mut found = self.store.read(name, consistency).await?;
        found.iter_mut().for_each(|state| drop(state.end_overdue(self.store.now())));
        Ok(found)
    }

    /// All locks, in the same way.
    pub async fn find_all(&self, consistency: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        let mut found = self.store.list(consistency).await?;
        found.iter_mut().for_each(|(_, state)| drop(state.end_overdue(self.store.now())));
        Ok(found)
    }
}
