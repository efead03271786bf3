//! A store in this process's memory: for tests and simulation.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap, history::newest_first,
    listing::listed, wall::wall_clock,
};
use crate::lock::{Beat, Ending, EpochMs, LockName, LockState, Map, Token, codec};

/// Documents in memory, kept in their stored form, so that the codec is exercised as in every other store.
#[derive(Debug, Default)]
pub struct MemoryStore {
    documents: Mutex<BTreeMap<LockName, Map>>,
    history: Mutex<BTreeMap<(LockName, u64), Map>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The document of `name` as it is stored.
    pub fn document(&self, name: &LockName) -> Option<Map> {
        self.documents().get(name).cloned()
    }

    /// Puts a document there, as another program or version may have written it.
    pub fn put_document(&self, name: LockName, document: Map) {
        self.documents().insert(name, document);
    }

    fn history(&self) -> MutexGuard<'_, BTreeMap<(LockName, u64), Map>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<LockName, Map>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(documents: &BTreeMap<LockName, Map>, name: &LockName) -> Result<Option<LockState>, StoreError> {
    let document = documents.get(name).cloned().map(codec::decode).transpose();
    document.map_err(|error| StoreError::Document { name: name.clone(), error })
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, name: &LockName, _: Consistency) -> Result<Option<LockState>, StoreError> {
        load(&self.documents(), name)
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let mut documents = self.documents();
        let current = load(&documents, name)?;
        let next = match expected.apply(current.as_ref(), new) {
            Some(next) => next,
            None => return Ok(Swap::Conflict(current)),
        };
        documents.insert(name.clone(), codec::encode(&next));
        Ok(Swap::Swapped(next))
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        let mut documents = self.documents();
        let Some(mut state) = load(&documents, name)? else { return Ok(Renewal::Gone(None)) };
        if !state.renew(token, beat) {
            return Ok(Renewal::Gone(Some(state)));
        }
        documents.insert(name.clone(), codec::encode(&state));
        Ok(Renewal::Renewed(state))
    }

    async fn list(&self, _: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        let documents = self.documents();
        let decoded = documents.iter().map(|(name, map)| (name.clone(), codec::decode(map.clone())));
        Ok(decoded.filter_map(|(name, state)| listed(name, state)).collect())
    }

    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError> {
        let place = (name.clone(), Ending::place(ending.fence));
        self.history().insert(place, codec::encode_ending(ending));
        Ok(())
    }

    async fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        let history = self.history();
        let own = history.iter().filter(|((of, _), _)| of == name).map(|(_, map)| Ok(map.clone()));
        Ok(newest_first(name, own))
    }

    fn now(&self) -> EpochMs {
        wall_clock()
    }

    fn liveness(&self) -> Liveness {
        Liveness::Lease
    }

    fn request_deadline(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}
