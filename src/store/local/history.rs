//! The history of the locks, in a table of its own, which is made when the first ending is recorded.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{
    lock::{CodecError, Ending, EpochMs, LockName, Map, codec},
    store::history::{expiry, newest_first},
};

/// A place has the last ending that was written to it; what has expired goes with the next one.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS history (
        name TEXT NOT NULL,
        place INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        ending TEXT NOT NULL,
        PRIMARY KEY (name, place)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS history_expires ON history (expires)";
const IS_THERE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'history'";
const WRITE: &str = "INSERT OR REPLACE INTO history (name, place, expires, ending) VALUES (?1, ?2, ?3, ?4)";
const TIDY: &str = "DELETE FROM history WHERE expires < ?1";
/// As DynamoDB's time-to-live does it. All documents are read for that, so it is done for a few of the endings.
/// (A document that something else damaged is left to whoever asks for its lock.)
const TIDY_LOCKS: &str = "DELETE FROM locks
    WHERE CASE WHEN json_valid(document) THEN CAST(document ->> '$.ExpiresAt.N' AS INTEGER) < ?1 END";
const READ: &str = "SELECT ending FROM history WHERE name = ?1";

/// Writes an ending to its place, over what is there. Nothing is synced: a power cut may take it back.
pub(super) fn record(
    connection: &mut Connection,
    name: &LockName,
    ending: &Ending,
    now: EpochMs,
) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLE)?;
    transaction.execute(TIDY, [signed(now.0 / 1000)])?;
    // Maps with text keys, texts and numbers: there is nothing that JSON cannot say.
    let json = serde_json::to_string(&codec::encode_ending(ending)).expect("an ending has a JSON form");
    let place = signed(Ending::place(ending.fence));
    if place == 0 {
        transaction.execute(TIDY_LOCKS, [signed(now.0 / 1000)])?;
    }
    transaction.execute(WRITE, params![name.as_str(), place, signed(expiry(now)), json])?;
    transaction.commit()
}

/// All endings of `name` that are there, the newest first.
pub(super) fn endings(connection: &Connection, name: &LockName) -> rusqlite::Result<Vec<Ending>> {
    if connection.query_row(IS_THERE, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(READ)?;
    let rows = statement.query_map([name.as_str()], |row| row.get::<_, String>(0))?;
    let stored = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(newest_first(name, stored.iter().map(|json| ending_of(json))))
}

fn ending_of(json: &str) -> Result<Map, CodecError> {
    serde_json::from_str(json)
        .map_err(|_| CodecError::Damaged { attribute: "ending".into(), problem: "is no JSON of attributes" })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
