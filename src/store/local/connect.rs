//! A connection to the file: checked, and set up for many processes.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    layout,
    trouble::{Step, sqlite_trouble, unopened},
};
use crate::store::StoreError;

/// How long a request waits for the other processes' requests.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A request takes well under a millisecond: so the first waits are short.
const SHORT_WAITS: i32 = 20;
const SHORT_WAIT: Duration = Duration::from_micros(250);
const LONG_WAIT: Duration = Duration::from_millis(4);

/// After how many pages (of 4 KiB) the write-ahead log goes into the database. It is read when the first
/// process of a host opens the file, so it is kept short.
const LOG_PAGES: i32 = 256;

/// Opens the file, which must be there and be ours.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
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
    if u32::try_from(long_waits).is_ok_and(|n| LONG_WAIT.saturating_mul(n) > BUSY_TIMEOUT) {
        return false;
    }
    thread::sleep(if long_waits < 0 { SHORT_WAIT } else { LONG_WAIT });
    true
}
