//! Recording how holds ended: in the background, for people, and never to anybody's cost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet};
use tracing::debug;

use super::Client;
use crate::{
    lock::{Ending, Holder, How, LockName, LockState, RemovalReason},
    store::StoreError,
};

/// How long a process that is done waits for its last records.
const LAST_RECORDS: Duration = Duration::from_secs(3);

/// The records of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    is_off: bool,
    under_way: Arc<Mutex<JoinSet<()>>>,
}

impl Recorder {
    /// Spawns a write, and forgets those that are done.
    fn spawn(&self, write: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime nothing is written: the caller is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while under_way.try_join_next().is_some() {}
        let keep = self.under_way.clone();
        under_way.spawn_on(
            async move {
                write.await;
                // A client that is dropped meanwhile takes no record with it.
                drop(keep);
            },
            &runtime,
        );
    }
}

impl Client {
    /// The same client, which keeps a history of how holds end, or none.
    #[must_use]
    pub fn with_history(mut self, kept: bool) -> Self {
        self.recorder.is_off = !kept;
        self
    }

    /// Records how a hold of `name` ended. Returns at once: it is written in the background, once, and one that
    /// can't be written is left out.
    pub fn record(&self, name: &LockName, ending: Ending) {
        if self.recorder.is_off {
            return;
        }
        let (store, name) = (self.store.clone(), name.clone());
        self.recorder.spawn(async move {
            if let Err(error) = store.record(&name, &ending).await {
                debug!(lock = %name, fence = %ending.fence, %error, "an ending was not recorded");
            }
        });
    }

    /// Records the end of a hold of somebody else, which `before` still has.
    pub(super) fn record_removal(&self, name: &LockName, before: &LockState, holder: &Holder, how: How) {
        let held = self.store.now().since(holder.since);
        self.record(name, Ending::of(before, holder, Duration::ZERO, held, how));
    }

    /// Returns when what is being recorded is written, or has failed; after three seconds at the latest. For a
    /// process that is about to end.
    pub async fn recorded(&self) {
        let under_way = {
            let mut under_way = self.recorder.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *under_way)
        };
        if tokio::time::timeout(LAST_RECORDS, under_way.join_all()).await.is_err() {
            debug!("some endings were not recorded in time");
        }
    }

    /// How the last holds of `name` ended, the newest first.
    pub async fn history(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        self.store.endings(name).await
    }
}

impl From<RemovalReason> for How {
    fn from(why: RemovalReason) -> Self {
        match why {
            RemovalReason::LeaseOver | RemovalReason::Dead => Self::Evicted,
            RemovalReason::Expired => Self::Expired,
            RemovalReason::Forced => Self::Forced,
        }
    }
}
