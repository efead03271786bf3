//! The store: requests of this process, one after the other on one connection, away from the event loop.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{task::spawn_blocking, time::timeout};

use super::{connect::BUSY_TIMEOUT, database::Database, place::Place};
use crate::{
    lock::{Beat, Ending, EpochMs, LockName, LockState, Term, Token},
    store::{Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap, wall::wall_clock},
};

/// The longest that a request takes: the wait for other processes, and as much again for a slow disk.
const DEADLINE: Duration = BUSY_TIMEOUT.saturating_mul(2);

/// The locks of this host, in a SQLite file.
///
/// All processes that are to see each other's locks open the same path. A live hold is known to be alive by
/// a kernel lock on a file in [`Store::local_dir`], so nothing is renewed here.
///
/// A swap that grants the lock or ends a static hold is synced to the disk before it returns. Others are
/// safe against the death of any process; a power cut may take back the last of them, which were places in
/// the queue and ends of holds whose processes died with the host.
///
/// Needs a tokio runtime with timers.
#[derive(Debug)]
pub struct LocalStore {
    place: Place,
    database: Arc<Mutex<Database>>,
}

impl LocalStore {
    /// Opens the database at `path`; a missing one is made (0600), and so is its folder (0700).
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the path cannot be used: no permission, a read-only filesystem, a link or a
    /// directory in its place, a file of another program or of a newer version, a damaged one;
    /// [`StoreError::Unavailable`] when the disk is full or other processes keep it busy.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = Place::find(path)?;
        let database = Database::open(place.clone())?;
        Ok(Self { place, database: Arc::new(Mutex::new(database)) })
    }

    /// The folder beside the database at `path`, for the kernel locks and bells of this host, without opening
    /// the database.
    ///
    /// # Errors
    /// As [`LocalStore::open`], as far as they are the path's.
    pub fn dir_of(path: &Path) -> Result<PathBuf, StoreError> {
        Ok(Place::find(path)?.folder)
    }

    /// The file, with an absolute path.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    async fn ask<T, F>(&self, late: fn(String) -> StoreError, request: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    {
        let database = Arc::clone(&self.database);
        let asked =
            spawn_blocking(move || request(&mut database.lock().unwrap_or_else(PoisonError::into_inner)));
        match timeout(DEADLINE, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(failed)) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Unavailable(format!(
                    "the lock database {} was not asked: this program is ending",
                    self.path().display()
                ))),
            },
            Err(_) => Err(late(format!(
                "the lock database {} gave no reply within {} s: look at its disk and the kernel's log",
                self.path().display(),
                DEADLINE.as_secs()
            ))),
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn read(&self, name: &LockName, _: Consistency) -> Result<Option<LockState>, StoreError> {
        let name = name.clone();
        self.ask(StoreError::Unavailable, move |database| database.read(&name)).await
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let (name, new) = (name.clone(), new.clone());
        let (old, seed) = match expected {
            Expected::This(old) => (Some(old.clone()), EpochMs(0)),
            Expected::Free { seed } => (None, seed),
        };
        let swap = move |database: &mut Database| {
            let expected = old.as_ref().map_or(Expected::Free { seed }, Expected::This);
            database.swap(&name, expected, &new)
        };
        self.ask(StoreError::Unanswered, swap).await
    }

    async fn renew(&self, name: &LockName, token: Token, _: Beat) -> Result<Renewal, StoreError> {
        Ok(match self.read(name, Consistency::Strong).await? {
            Some(state) if is_live(&state, token) => Renewal::Renewed(state),
            other => Renewal::Gone(other),
        })
    }

    async fn list(&self, _: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        self.ask(StoreError::Unavailable, |database| database.list()).await
    }

    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError> {
        let (name, ending, now) = (name.clone(), ending.clone(), self.now());
        self.ask(StoreError::Unanswered, move |database| database.record(&name, &ending, now)).await
    }

    async fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        let name = name.clone();
        self.ask(StoreError::Unavailable, move |database| database.endings(&name)).await
    }

    fn now(&self) -> EpochMs {
        wall_clock()
    }

    fn liveness(&self) -> Liveness {
        Liveness::KernelLock
    }

    fn local_dir(&self) -> Option<&Path> {
        Some(&self.place.folder)
    }

    fn request_deadline(&self) -> Duration {
        DEADLINE
    }

    fn describe(&self) -> String {
        self.path().display().to_string()
    }
}

fn is_live(state: &LockState, token: Token) -> bool {
    state.holder(token).is_some_and(|holder| matches!(holder.term, Term::Live { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_not_done_in_time_may_be_done_later_and_a_read_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&folder.path().join("locks.db")).unwrap();
        let (database, name, seed) = (store.database.clone(), LockName::new("a").unwrap(), EpochMs(1));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let busy = database.lock().unwrap();
        let (swap, read) = runtime.block_on(async {
            let new = LockState::new(seed);
            let swap = store.swap(&name, Expected::Free { seed }, &new);
            let read = store.read(&name, Consistency::Strong);
            let late = tokio::time::advance(DEADLINE * 2);
            let (swap, read, ()) = tokio::join!(swap, read, late);
            (swap, read)
        });
        assert!(matches!(swap, Err(StoreError::Unanswered(_))), "{swap:?}");
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        drop(busy);
        drop(runtime);
        let done = database.lock().unwrap().read(&name).unwrap();
        assert!(done.is_some(), "it was done in the end");
    }
}
