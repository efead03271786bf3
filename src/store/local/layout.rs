//! What is in the file, and how it is told from the files of other programs and other versions.

use std::path::Path;

use rusqlite::Connection;

use super::trouble::{Step, refused, sqlite_trouble};
use crate::store::StoreError;

/// `plok` in ASCII: marks the file as ours (SQLite's `application_id`, at byte 68 of the file).
const APPLICATION_ID: i32 = 0x706c_6f6b;

/// The version of the table below and of the one that [`super::history`] adds (SQLite's `user_version`). The documents have a version of their own.
const LAYOUT: i32 = 1;

/// One row a lock. `document` is the JSON of the attributes, `rev` their `Rev`, for people who look.
const TABLE: &str = "CREATE TABLE locks (
    name TEXT PRIMARY KEY NOT NULL,
    rev INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID";

/// Makes an empty database into ours.
pub(super) fn lay_out(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.execute_batch(TABLE)?;
    transaction.commit()
}

/// Refuses the file of another program or of a newer version, before anything in it is changed.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name: &str| -> Result<i32, StoreError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| sqlite_trouble(path, Step::Open, &error, connection))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(refused(
            path,
            "is the SQLite database of another program, or is empty",
            "name another file as the store's path (a missing one is made), or remove this one if nothing needs it",
        ));
    }
    match pragma("user_version")? {
        LAYOUT => Ok(()),
        layout if layout > LAYOUT => Err(refused(
            path,
            &format!("has the layout {layout} of a newer pipeline-lock, and this one knows {LAYOUT}"),
            "install the newer version for everything that uses this file",
        )),
        layout => Err(refused(
            path,
            &format!("has an unknown layout ({layout})"),
            "move it away once no job holds a lock in it; a new one is made then",
        )),
    }
}
