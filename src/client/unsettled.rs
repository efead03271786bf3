//! Writes of a request that were sent and never answered: each may still take effect, and then gives a hold or
//! a place to somebody who has gone.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    lock::{LockName, Token},
    store::StoreError,
};

/// What a client's requests have under way or lost sight of.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsettled(Arc<Mutex<HashSet<(LockName, Token)>>>);

impl Unsettled {
    /// Notes that a write for `token` is about to be sent. Unless [`Sent::answered`] hears of a reply, also when
    /// the caller is dropped in between, it stays noted.
    pub(super) fn send(&self, name: &LockName, token: Token) -> Sent {
        Sent { unsettled: self.clone(), write: Some((name.clone(), token)) }
    }

    /// Whether a write for `token` was never answered.
    pub(super) fn has(&self, name: &LockName, token: Token) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(name.clone(), token))
    }

    /// It was looked for long enough.
    pub(super) fn forget(&self, name: &LockName, token: Token) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.clone(), token));
    }
}

/// One write on its way.
pub(super) struct Sent {
    unsettled: Unsettled,
    write: Option<(LockName, Token)>,
}

impl Sent {
    /// Takes in what came of it: only an error that leaves it open keeps the write noted.
    pub(super) fn answered<T>(mut self, result: &Result<T, StoreError>) {
        if !matches!(result, Err(StoreError::Unanswered(_))) {
            self.write = None;
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            self.unsettled.0.lock().unwrap_or_else(PoisonError::into_inner).insert(write);
        }
    }
}
