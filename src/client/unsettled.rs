//! Writes of a request that were sent and never answered: each may still take effect, and then gives a hold or
//! a place to somebody who has gone. And those that took effect: who has neither has nothing in the store.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    lock::{LockName, Token},
    store::{StoreError, Swap},
};

/// What a client's requests have under way or lost sight of.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsettled(Arc<Mutex<Writes>>);

#[derive(Debug, Default)]
struct Writes {
    unanswered: HashSet<(LockName, Token)>,
    taken: HashSet<(LockName, Token)>,
}

impl Unsettled {
    /// Notes that a write for `token` is about to be sent. Unless [`Sent::answered`] hears of a reply, also when
    /// the caller is dropped in between, it stays noted.
    pub(super) fn send(&self, name: &LockName, token: Token) -> Sent {
        Sent { unsettled: self.clone(), write: Some((name.clone(), token)) }
    }

    /// Whether a write for `token` was never answered.
    pub(super) fn has(&self, name: &LockName, token: Token) -> bool {
        self.with(|writes| writes.unanswered.contains(&(name.clone(), token)))
    }

    /// Whether a write for `token` took effect, or may have.
    pub(super) fn may_have_taken(&self, name: &LockName, token: Token) -> bool {
        let write = (name.clone(), token);
        self.with(|writes| writes.taken.contains(&write) || writes.unanswered.contains(&write))
    }

    /// The store has said that nothing of `token` is left, but for what an unanswered write may still bring.
    pub(super) fn given_back(&self, name: &LockName, token: Token) {
        self.with(|writes| writes.taken.remove(&(name.clone(), token)));
    }

    /// It was looked for long enough.
    pub(super) fn forget(&self, name: &LockName, token: Token) {
        self.with(|writes| writes.unanswered.remove(&(name.clone(), token)));
    }

    fn with<T>(&self, what: impl FnOnce(&mut Writes) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One write on its way.
pub(super) struct Sent {
    unsettled: Unsettled,
    write: Option<(LockName, Token)>,
}

impl Sent {
    /// Takes in what came of it: only an error that leaves it open keeps the write noted.
    pub(super) fn answered(mut self, result: &Result<Swap, StoreError>) {
        if matches!(result, Err(StoreError::Unanswered(_))) {
            return;
        }
        if let Some(write) = self.write.take()
            && matches!(result, Ok(Swap::Swapped(_)))
        {
            self.unsettled.with(|writes| writes.taken.insert(write));
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            self.unsettled.with(|writes| writes.unanswered.insert(write));
        }
    }
}
