//! One connection to the database: reads, swaps, and how surely each is written.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig, params};

use super::{
    create, layout,
    place::{FileId, Place},
    trouble::{Step, refused, sqlite_trouble, unopened},
};
use crate::{
    lock::{CodecError, Holder, LockName, LockState, Map, Term, codec},
    store::{Expected, StoreError, Swap},
};

/// How long a request waits for the other processes' requests.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A request takes well under a millisecond: so the first waits are short.
const SHORT_WAITS: i32 = 20;
const SHORT_WAIT: Duration = Duration::from_micros(250);
const LONG_WAIT: Duration = Duration::from_millis(4);

/// After how many pages (of 4 KiB) the write-ahead log goes into the database. It is read when the first
/// process of a host opens the file, so it is kept short.
const LOG_PAGES: i32 = 256;

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
        let connection = connect(&place.path)?;
        place.still_has(file)?;
        place.make_local_folder()?;
        Ok(Self { connection, place, file })
    }

    /// The document of `name`, if there is one.
    pub(super) fn read(&self, name: &LockName) -> Result<Option<LockState>, StoreError> {
        self.place.still_has(self.file)?;
        let document = stored(&self.connection, name).map_err(|error| self.trouble(Step::Read, &error))?;
        document.map(|json| decode(name, &json)).transpose()
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
        rows.into_iter()
            .map(|(name, json)| {
                let name = LockName::new(name).map_err(|error| {
                    refused(&self.place.path, &format!("has a row that is no lock ({error})"), "remove it")
                })?;
                let state = decode(&name, &json)?;
                Ok((name, state))
            })
            .collect()
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
    let current = document.map(|json| decode(name, &json)).transpose()?;
    let Some(next) = expected.apply(current.as_ref(), new) else { return Ok(Swap::Conflict(current)) };
    let write = |error| SwapTrouble::Sqlite(Step::Write, error);
    let rev = i64::try_from(next.rev.0).unwrap_or(i64::MAX);
    transaction.execute(WRITE, params![name.as_str(), rev, encode(&next)]).map_err(write)?;
    transaction.commit().map_err(|error| SwapTrouble::Sqlite(Step::Commit, error))?;
    Ok(Swap::Swapped(next))
}

/// Whether a power cut must not undo the swap: one that grants (its fencing number would be given out again),
/// and one that ends a static hold (nothing else would end it). What a power cut may take back otherwise are
/// places in the queue and the ends of live holds, whose processes died with it.
fn must_outlive_the_host(expected: Expected<'_>, new: &LockState) -> bool {
    let Expected::This(old) = expected else { return !new.holders.is_empty() };
    let is_static = |h: &Holder| matches!(h.term, Term::Static { .. });
    new.holders.iter().any(|h| old.holder(h.token).is_none())
        || old.holders.iter().any(|h| is_static(h) && new.holder(h.token).is_none())
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| unopened(path, &error.to_string()))?;
    let trouble = |error: rusqlite::Error, connection: &Connection| {
        sqlite_trouble(path, Step::Open, &error, connection)
    };
    connection.busy_handler(Some(wait_for_others)).map_err(|error| trouble(error, &connection))?;
    // SQLite falls back to reading without a word where it may not write.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(|error| trouble(error, &connection))? {
        return Err(unopened(path, "it can only be read"));
    }
    layout::check(&connection, path)?;
    set_up(&connection).map_err(|error| trouble(error, &connection))?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // Whoever closes last would sync the log into the database and remove it: two syncs for each command.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // The file is marked so from its beginning; this mends what a tool may have changed.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))
}

/// SQLite's busy handler: waits, and gives up (false) once all waits make up [`BUSY_TIMEOUT`].
fn wait_for_others(waits_before: i32) -> bool {
    let long_waits = waits_before - SHORT_WAITS;
    if u128::try_from(long_waits).is_ok_and(|n| n * LONG_WAIT.as_millis() > BUSY_TIMEOUT.as_millis()) {
        return false;
    }
    thread::sleep(if long_waits < 0 { SHORT_WAIT } else { LONG_WAIT });
    true
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

fn decode(name: &LockName, json: &str) -> Result<LockState, StoreError> {
    let document: Result<Map, _> = serde_json::from_str(json);
    let no_json =
        |_| CodecError::Damaged { attribute: "document".into(), problem: "is no JSON of attributes" };
    document
        .map_err(no_json)
        .and_then(codec::decode)
        .map_err(|error| StoreError::Document { name: name.clone(), error })
}
