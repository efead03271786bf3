//! Where the documents are kept. A store reads and swaps whole documents and renews single holds; every rule
//! of what may follow what is in [`crate::lock`].

mod dynamodb;
mod error;
mod history;
mod listing;
mod local;
mod memory;
mod wall;

use std::{path::Path, time::Duration};

use async_trait::async_trait;

pub use dynamodb::{DynamoDbSettings, DynamoDbStore, TableCreation, create_table};
pub use error::StoreError;
pub use local::LocalStore;
pub use memory::MemoryStore;

use crate::lock::{Beat, Ending, EpochMs, LockName, LockState, Token};

/// What a swap expects to find.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Exactly this document, by its revision.
    This(&'a LockState),
    /// No document, or one that nobody holds or awaits. The store numbers the new document itself, as
    /// [`LockState::over_free`] says, beginning at `seed` where there is none.
    Free {
        /// The writer's wall clock.
        seed: EpochMs,
    },
}

impl Expected<'_> {
    /// What is stored if `current` is as expected and `new` is to take its place; `None` on a conflict. The
    /// rule for stores that compare in this process; DynamoDB's conditions say the same.
    pub fn apply(self, current: Option<&LockState>, new: &LockState) -> Option<LockState> {
        match (self, current) {
            (Expected::This(expected), Some(current)) if current.rev == expected.rev => Some(new.clone()),
            (Expected::Free { seed }, None) => Some(new.clone().over_free(None, seed)),
            (Expected::Free { seed }, Some(current)) if current.is_free() && !current.is_newer() => {
                Some(new.clone().over_free(Some(current), seed))
            }
            _ => None,
        }
    }
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq)]
pub enum Swap {
    /// The new document is stored; this is how it stands now.
    Swapped(LockState),
    /// Something else is there, and nothing was written. `None`: there is no document.
    Conflict(Option<LockState>),
}

/// What became of a renewal.
#[derive(Clone, Debug, PartialEq)]
pub enum Renewal {
    /// The renewal was counted; the document as it stands now.
    Renewed(LockState),
    /// The token has no live hold; the document as it stands now, if there is one.
    Gone(Option<LockState>),
}

/// How sure a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All that was written before is seen.
    Strong,
    /// Cheaper, and possibly a little old: enough for polling, as every decision is made by a swap.
    Eventual,
}

/// How a live hold of this store is known to be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// By renewals within a lease: holders may be on any host.
    Lease,
    /// By a kernel lock: all holders are on this host.
    KernelLock,
}

/// A place for locks.
///
/// Every request has a deadline of its own inside the store; a [`StoreError::Unanswered`] says that a write
/// may or may not have taken effect, and the next reply settles it.
#[async_trait]
pub trait Store: Send + Sync {
    /// The document of `name`, if there is one.
    async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<LockState>, StoreError>;

    /// Stores `new` if what is there is as expected; else says what is there.
    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError>;

    /// Raises the beat of the live hold of `token` to `beat` and by one at least, whatever else happens to
    /// the document; never creates or revives anything. A caller gives each renewal that it sends a number
    /// of its own, above all before: one that moves no beat would restart the holder's lease but not the
    /// clocks of those who watch it. With [`Liveness::KernelLock`] nothing is written: it only looks.
    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError>;

    /// All locks, free ones too, by name; without items that are no locks.
    async fn list(&self, consistency: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError>;

    /// Writes a hold's end into the history of `name`, to its [place](Ending::place), whatever is there. One
    /// write, which nobody waits for and on which nothing depends.
    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError>;

    /// The history of `name`: the last [`HISTORY_LENGTH`](crate::lock::HISTORY_LENGTH) ends at most, the newest
    /// first.
    async fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError>;

    /// Now, by the store's clock: static holds end by it. Before the first reply it is this host's.
    fn now(&self) -> EpochMs;

    /// How a live hold is known to be alive.
    fn liveness(&self) -> Liveness;

    /// Where the kernel locks and bells of this store's holds are on this host, if the store itself says.
    fn local_dir(&self) -> Option<&Path> {
        None
    }

    /// The longest that one request takes before it fails.
    fn request_deadline(&self) -> Duration;

    /// The store in a few words, for messages: `table locks in eu-central-1`, `/var/lib/…/locks.db`.
    fn describe(&self) -> String;
}
