//! A store in memory that keeps its documents as they are: encoding a long queue at each look would be most of what a test
//! does. How documents are stored is seen to elsewhere.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use pipeline_lock::{
    lock::{Beat, Ending, EpochMs, LockName, LockState, Token},
    store::{Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap},
};

/// The store.
#[derive(Default)]
pub struct Plain(Mutex<BTreeMap<LockName, LockState>>);

#[async_trait]
impl Store for Plain {
    async fn read(&self, name: &LockName, _: Consistency) -> Result<Option<LockState>, StoreError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let mut documents = self.0.lock().unwrap();
        let current = documents.get(name);
        let Some(next) = expected.apply(current, new) else { return Ok(Swap::Conflict(current.cloned())) };
        documents.insert(name.clone(), next.clone());
        Ok(Swap::Swapped(next))
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        let mut documents = self.0.lock().unwrap();
        let Some(state) = documents.get_mut(name) else { return Ok(Renewal::Gone(None)) };
        let renewed = state.renew(token, beat);
        let state = state.clone();
        Ok(if renewed { Renewal::Renewed(state) } else { Renewal::Gone(Some(state)) })
    }

    async fn list(&self, _: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        let documents = self.0.lock().unwrap();
        Ok(documents.iter().map(|(name, state)| (name.clone(), state.clone())).collect())
    }

    async fn record(&self, _: &LockName, _: &Ending) -> Result<(), StoreError> {
        Ok(())
    }

    async fn endings(&self, _: &LockName) -> Result<Vec<Ending>, StoreError> {
        Ok(Vec::new())
    }

    fn now(&self) -> EpochMs {
        EpochMs(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970"))
    }

    fn liveness(&self) -> Liveness {
        Liveness::Lease
    }

    fn request_deadline(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn describe(&self) -> String {
        "documents in memory".into()
    }
}
