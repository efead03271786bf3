//! The client itself.

use std::{fmt, path::Path, sync::Arc};

use super::{Clock, Here, HostClock, crush::Crush, history::Recorder, unsettled::Unsettled};
use crate::{
    lock::{LockName, LockState},
    store::{Consistency, Expected, LocalStore, Store, StoreError, Swap},
};

/// A store, a clock and what this host knows: all that acquiring, holding and releasing needs. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) here: Option<Here>,
    pub(super) unsettled: Unsettled,
    pub(super) recorder: Recorder,
}

impl Client {
    /// A client of `store` on the real clock. With `here`, holders of this host are known to be dead as soon
    /// as they are, and releases on this host are heard at once.
    pub fn new(store: Arc<dyn Store>, here: Option<Here>) -> Self {
        Self::with_clock(store, Arc::new(HostClock), here)
    }

    /// The same on another clock.
    pub fn with_clock(store: Arc<dyn Store>, clock: Arc<dyn Clock>, here: Option<Here>) -> Self {
        Self { store, clock, here, unsettled: Unsettled::default(), recorder: Recorder::default() }
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Whether burials of dead holders go on aside: what these call (a wrapped driver's cleanup) runs below this process.
    pub fn is_burying(&self) -> bool {
        self.here.as_ref().is_some_and(|here| here.burials.are_under_way())
    }

    /// Waits until none of them goes on.
    pub async fn burials_over(&self) {
        if let Some(here) = &self.here {
            here.burials.over().await;
        }
    }

    /// What this host knows of its own holds.
    pub const fn here(&self) -> Option<&Here> {
        self.here.as_ref()
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// A client of the local store in `file`, which is made if it is missing.
    pub async fn local(file: impl AsRef<Path>) -> Result<Self, StoreError> {
        let store = LocalStore::open(file.as_ref())?;
        let here = store.local_dir().map(Here::open).transpose();
        let here = here.map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Self::new(Arc::new(store), here))
    }

    /// Rings `times` for those on this host who wait for `name`.
    pub(super) fn ring(&self, name: &LockName, times: usize) {
        if let Some(here) = &self.here {
            (0..times).for_each(|_| here.ring(name));
        }
    }

    /// Reads `name`, and writes what `change` makes of it, until one swap takes effect. `change` returns false
    /// when there is nothing to do (any more). The result is the document as it stands then.
    pub async fn change(
        &self,
        name: &LockName,
        known: Option<LockState>,
        mut change: impl FnMut(&mut LockState) -> bool + Send,
    ) -> Result<Option<LockState>, StoreError> {
        let mut current = match known {
            Some(state) => Some(state),
            None => self.store.read(name, Consistency::Strong).await?,
        };
        let mut crush = Crush::default();
        loop {
            let Some(before) = current else { return Ok(None) };
            let mut next = before.clone();
            if !change(&mut next) {
                return Ok(Some(before));
            }
            next.seal(self.clock.wall());
            match self.store.swap(name, Expected::This(&before), &next).await? {
                Swap::Swapped(state) => {
                    self.ring(name, 1);
                    return Ok(Some(state));
                }
                Swap::Conflict(other) => current = other,
            }
            if let Some(pause) = crush.lost(&before, &next) {
                self.clock.sleep_until(self.clock.now().plus(pause)).await;
                current = self.store.read(name, Consistency::Strong).await?;
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("store", &self.store.describe()).finish_non_exhaustive()
    }
}
