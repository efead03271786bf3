//! A new database: finished under another name, then put in its place, so that nobody ever sees half a one
//! and of two who make it at once one wins.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use uuid::Uuid;

use super::{
    layout,
    place::Place,
    trouble::{Step, sqlite_trouble, system_trouble},
    users::User,
};
use crate::{host::private_folder::make_new, store::StoreError};

/// Makes the database, unless somebody else was quicker.
pub(super) fn create(place: &Place) -> Result<(), StoreError> {
    User::check_none_lives(place)?;
    let draft = beside(&place.path, &format!(".{}.new", Uuid::new_v4()));
    let made = build(&draft, &place.path).and_then(|()| {
        put_in_place(&draft, &place.path).map_err(|error| cannot_be_made(&place.path, &error))
    });
    for leftover in [draft.clone(), beside(&draft, "-wal"), beside(&draft, "-shm")] {
        // After a success there is none; after a failure the failure is what counts.
        let _ = fs::remove_file(leftover);
    }
    made
}

fn build(draft: &Path, path: &Path) -> Result<(), StoreError> {
    let system = |error: io::Error| cannot_be_made(path, &error);
    // SQLite gives its log files the mode of the database.
    make_new(draft, OpenOptions::new().write(true)).map_err(system)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(draft, flags)
        .map_err(|error| system(io::Error::other(error.to_string())))?;
    fill(&mut connection).map_err(|error| sqlite_trouble(path, Step::Open, &error, &connection))?;
    drop(connection);
    File::open(draft).and_then(|file| file.sync_all()).map_err(system)
}

fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    // One sync at the end is enough: until then nobody knows the file.
    connection.pragma_update(None, "synchronous", "OFF")?;
    layout::lay_out(connection)?;
    // A mark in the file: every later connection uses the write-ahead log.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

fn put_in_place(draft: &Path, path: &Path) -> io::Result<()> {
    let placed = match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        // Older ZFS has no such rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::hard_link(draft, path),
        other => other.map_err(io::Error::from),
    };
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()),
    }
}

fn cannot_be_made(path: &Path, error: &io::Error) -> StoreError {
    system_trouble(path, "cannot be made", error)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
