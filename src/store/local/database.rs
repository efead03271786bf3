//! One connection to the database: reads, swaps, and how surely each is written.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    connect::connect,
    create, history,
    place::{FileId, Place},
    trouble::{Step, refused, sqlite_trouble},
    users::User,
};
use crate::{
    lock::{CodecError, Ending, EpochMs, Holder, LockName, LockState, Map, Term, codec},
    store::{Expected, StoreError, Swap, listing::listed},
};

const READ: &str = "SELECT document FROM locks WHERE name = ?1";
const WRITE: &str = "INSERT INTO locks (name, rev, document) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET rev = excluded.rev, document = excluded.document";
const LIST: &str = "SELECT name, document FROM locks ORDER BY name";

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    place: Place,
    file: FileId,
    _user: User,
}

impl Database {
    /// Opens the database at `place`, and makes it first if it is missing.
    pub(super) fn open(place: Place) -> Result<Self, StoreError> {
        let file = match place.look()? {
            Some(file) => file,
            None => {
                create::create(&place)?;
                place.look()?.ok_or_else(|| {
                    refused(&place.path, "was removed as soon as it was made", "find out by whom")
                })?
            }
        };
        place.is_mounted_with_its_folder()?;
        let connection = connect(&place.path)?;
        place.still_has(file)?;
        place.make_local_folder()?;
        let user = User::join(&place, file)?;
        Ok(Self { connection, place, file, _user: user })
    }

    /// The document of `name`, if there is one.
    pub(super) fn read(&self, name: &LockName) -> Result<Option<LockState>, StoreError> {
        self.place.still_has(self.file)?;
        let document = stored(&self.connection, name).map_err(|error| self.trouble(Step::Read, &error))?;
        document.map(|json| decode_lock(name, &json)).transpose()
    }

    /// Puts `new` in the place of what is there, if that is as expected.
    pub(super) fn swap(
        &mut self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        self.place.still_has(self.file)?;
        let path = &self.place.path;
        // It cannot be changed inside a transaction.
        let level = if must_outlive_the_host(expected, new) { "FULL" } else { "NORMAL" };
        self.connection
            .pragma_update(None, "synchronous", level)
            .map_err(|error| sqlite_trouble(path, Step::Read, &error, &self.connection))?;
        match swap(&mut self.connection, name, expected, new) {
            Ok(swapped) => Ok(swapped),
            Err(SwapTrouble::Store(error)) => Err(error),
            Err(SwapTrouble::Sqlite(step, error)) => Err(self.trouble(step, &error)),
        }
    }

    /// All documents, by name.
    pub(super) fn list(&self) -> Result<Vec<(LockName, LockState)>, StoreError> {
        self.place.still_has(self.file)?;
        let rows = rows(&self.connection).map_err(|error| self.trouble(Step::Read, &error))?;
        let mut locks = Vec::with_capacity(rows.len());
        for (name, json) in rows {
            let Ok(name) = LockName::new(&name) else {
                tracing::debug!(name, "left out of the list: no name of a lock");
                continue;
            };
            locks.extend(listed(name, decode(&json)));
        }
        Ok(locks)
    }

    /// Writes an ending into the history of `name`.
    pub(super) fn record(
        &mut self,
        name: &LockName,
        ending: &Ending,
        now: EpochMs,
    ) -> Result<(), StoreError> {
        self.place.still_has(self.file)?;
        let recorded = history::record(&mut self.connection, name, ending, now);
        recorded.map_err(|error| self.trouble(Step::Write, &error))
    }

    /// The history of `name`.
    pub(super) fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        self.place.still_has(self.file)?;
        history::endings(&self.connection, name).map_err(|error| self.trouble(Step::Read, &error))
    }

    fn trouble(&self, step: Step, error: &rusqlite::Error) -> StoreError {
        sqlite_trouble(&self.place.path, step, error, &self.connection)
    }
}

enum SwapTrouble {
    Store(StoreError),
    Sqlite(Step, rusqlite::Error),
}

impl From<StoreError> for SwapTrouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn swap(
    connection: &mut Connection,
    name: &LockName,
    expected: Expected<'_>,
    new: &LockState,
) -> Result<Swap, SwapTrouble> {
    let before = |error| SwapTrouble::Sqlite(Step::Read, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(before)?;
    let document = stored(&transaction, name).map_err(before)?;
    let current = document.map(|json| decode_lock(name, &json)).transpose()?;
    let Some(next) = expected.apply(current.as_ref(), new) else { return Ok(Swap::Conflict(current)) };
    let write = |error| SwapTrouble::Sqlite(Step::Write, error);
    let rev = i64::try_from(next.rev.0).unwrap_or(i64::MAX);
    transaction.execute(WRITE, params![name.as_str(), rev, encode(&next)]).map_err(write)?;
    transaction.commit().map_err(|error| SwapTrouble::Sqlite(Step::Commit, error))?;
    Ok(Swap::Swapped(next))
}

/// Whether a power cut must not undo the swap: one that grants (its fencing number would be given out again),
/// one that ends a static hold (nothing else would end it), and one that makes a hold static (its pipeline's
/// next job counts on it). What a power cut may take back otherwise are
/// places in the queue and the ends of live holds, whose processes died with it.
fn must_outlive_the_host(expected: Expected<'_>, new: &LockState) -> bool {
    let Expected::This(old) = expected else { return !new.holders.is_empty() };
    let is_static = |h: &Holder| matches!(h.term, Term::Static { .. });
    new.holders.iter().any(|h| old.holder(h.token).is_none_or(|old| is_static(h) && !is_static(old)))
        || old.holders.iter().any(|h| is_static(h) && new.holder(h.token).is_none())
}

fn stored(connection: &Connection, name: &LockName) -> rusqlite::Result<Option<String>> {
    connection.query_row(READ, [name.as_str()], |row| row.get(0)).optional()
}

fn rows(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(LIST)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn encode(state: &LockState) -> String {
    // Maps with text keys, texts, numbers and lists: there is nothing that JSON cannot say.
    serde_json::to_string(&codec::encode(state)).expect("a document has a JSON form")
}

fn decode_lock(name: &LockName, json: &str) -> Result<LockState, StoreError> {
    decode(json).map_err(|error| StoreError::Document { name: name.clone(), error })
}

fn decode(json: &str) -> Result<LockState, CodecError> {
    let document: Map = serde_json::from_str(json).map_err(|_| CodecError::Damaged {
        attribute: "document".into(),
        problem: "is no JSON of attributes",
    })?;
    codec::decode(document)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lock::{Beat, EpochMs, Fence, How, Limit, Mode, Owner, Request, Token, Who};

    const LIVE: Term = Term::Live { beat: Beat(0), lease: None };
    const STATIC: Term = Term::Static { until: None };

    fn request(n: u128, term: Term) -> Request {
        let token = Token::new(uuid::Uuid::from_u128(n));
        Request {
            owner: Owner::alone(token),
            token,
            replaces: None,
            mode: Mode::Exclusive,
            limit: Limit(1),
            priority: 0,
            order: crate::lock::Order::First,
            line: None,
            max_queue: None,
            term,
            who: Who::default(),
            since: EpochMs(0),
            force_after: None::<Duration>,
        }
    }

    /// Whether the swap that `change` makes of a lock held as `held` says is synced to the disk.
    fn is_synced(held: Option<Term>, change: impl FnOnce(&mut LockState)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(Place::find(&folder.path().join("locks.db")).unwrap()).unwrap();
        let mut old = LockState::new(EpochMs(0));
        if let Some(term) = held {
            old.request(&request(1, term), false);
        }
        let name = LockName::new("a").unwrap();
        let Swap::Swapped(old) = database.swap(&name, Expected::Free { seed: EpochMs(0) }, &old).unwrap()
        else {
            panic!("a new lock is taken");
        };
        let mut new = old.clone();
        change(&mut new);
        new.seal(EpochMs(0));
        let swap = database.swap(&name, Expected::This(&old), &new).unwrap();
        assert_eq!(swap, Swap::Swapped(new));
        let level: i32 =
            database.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        level == 2
    }

    fn ask(lock: &mut LockState, n: u128) {
        lock.request(&request(n, LIVE), true);
    }

    fn release(lock: &mut LockState, n: u128) {
        assert!(lock.release(request(n, LIVE).token));
    }

    #[test]
    fn a_grant_and_the_end_of_a_static_hold_outlive_a_power_cut() {
        assert!(is_synced(None, |lock| ask(lock, 2)));
        assert!(is_synced(Some(STATIC), |lock| release(lock, 1)));
        assert!(is_synced(Some(LIVE), |lock| {
            ask(lock, 2);
            release(lock, 1);
            ask(lock, 2);
        }));
    }

    #[test]
    fn places_and_ends_of_live_holds_cost_no_sync() {
        assert!(!is_synced(Some(LIVE), |lock| ask(lock, 2)));
        assert!(!is_synced(Some(STATIC), |lock| ask(lock, 2)));
        assert!(!is_synced(Some(LIVE), |lock| release(lock, 1)));
    }

    #[test]
    fn a_lock_that_was_free_for_long_goes_with_an_ending_and_one_that_is_held_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(Place::find(&folder.path().join("locks.db")).unwrap()).unwrap();
        let lock = |name: &str| LockName::new(name).unwrap();
        for name in ["free", "held"] {
            let new = LockState {
                holders: vec![Holder::granted(&request(1, STATIC), None)],
                ..LockState::new(EpochMs(0))
            };
            database.swap(&lock(name), Expected::Free { seed: EpochMs(0) }, &new).unwrap();
        }
        let held = database.read(&lock("free")).unwrap().unwrap();
        let mut free = held.clone();
        release(&mut free, 1);
        free.seal(EpochMs(0));
        database.swap(&lock("free"), Expected::This(&held), &free).unwrap();
        let ending = |fence| {
            let holder = Holder::granted(&request(1, STATIC), Some(Fence(fence)));
            Ending::of(&free, &holder, Duration::ZERO, Duration::ZERO, How::Released)
        };
        let names = |database: &Database| {
            database.list().unwrap().into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        let later = EpochMs(0).plus(Duration::from_hours(31 * 24));
        database.record(&lock("other"), &ending(64), EpochMs(0)).unwrap();
        database.record(&lock("old"), &ending(1), EpochMs(0)).unwrap();
        assert_eq!(names(&database), ["free", "held"], "it is not long");
        assert_eq!(database.endings(&lock("old")).unwrap().len(), 1);
        let damaged = "INSERT INTO locks (name, rev, document) VALUES ('damaged', 1, 'no JSON')";
        database.connection.execute(damaged, []).unwrap();
        database.record(&lock("other"), &ending(64), later).unwrap();
        assert_eq!(names(&database), ["held"]);
        assert_eq!(database.endings(&lock("old")).unwrap(), [], "an ending goes likewise");
    }
}
