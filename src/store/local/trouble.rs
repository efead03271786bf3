//! What SQLite and the kernel say when the file cannot be used, with its cause and the way out.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, ffi};
use rustix::{
    fs::{Access, StatVfsMountFlags, access, statvfs},
    io::Errno,
    process::geteuid,
};

use crate::store::StoreError;

/// How far a request was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The file was being opened.
    Open,
    /// Nothing had been written.
    Read,
    /// Something was being written, without its end mark.
    Write,
    /// The end mark was being written or synced: whether it counts shows only later.
    Commit,
}

/// A refusal: what the file is or has, and what to do.
pub(super) fn refused(path: &Path, cause: &str, way_out: &str) -> StoreError {
    StoreError::Refused(sentence(path, cause, way_out))
}

fn passing(path: &Path, cause: &str, way_out: &str) -> StoreError {
    StoreError::Unavailable(sentence(path, cause, way_out))
}

fn sentence(path: &Path, cause: &str, way_out: &str) -> String {
    format!("the lock database {} {cause}: {way_out}", path.display())
}

/// What the kernel said about the file or its folder.
pub(super) fn system_trouble(path: &Path, what: &str, error: &io::Error) -> StoreError {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    if is_full(error) {
        return full(path);
    }
    let cause = format!("{what} ({error})");
    let way_out = match error.kind() {
        PermissionDenied => format!(
            "let user {} write into that folder, or name a file elsewhere as the store's path",
            geteuid().as_raw()
        ),
        ReadOnlyFilesystem => "mount it writable, or name a file elsewhere as the store's path".into(),
        NotADirectory | DirectoryNotEmpty | NotFound => "name a file in a folder as the store's path".into(),
        _ => "name a file on a disk of this host as the store's path".into(),
    };
    refused(path, &cause, &way_out)
}

/// What SQLite said on this connection.
pub(super) fn sqlite_trouble(
    path: &Path,
    step: Step,
    error: &rusqlite::Error,
    connection: &Connection,
) -> StoreError {
    let system = system_error(connection);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => passing(
            path,
            "was in use by another process for 5 s",
            "trying again helps, unless that process is stopped in the middle of a write (see who has the file open)",
        ),
        Some(ErrorCode::DiskFull) => full(path),
        Some(ErrorCode::NotADatabase) => refused(
            path,
            "is no SQLite database",
            "name another file as the store's path (a missing one is made), or remove this one if nothing needs it",
        ),
        Some(ErrorCode::DatabaseCorrupt) => refused(
            path,
            &format!("is damaged ({error})"),
            "end the jobs that hold a lock in it, then move it away with its -wal and -shm; a new one is made, with higher fencing numbers",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            unopened(path, &error.to_string())
        }
        Some(ErrorCode::SystemIoFailure) => io_trouble(path, step, error, system),
        Some(ErrorCode::OutOfMemory) => passing(path, "could not be used for want of memory", "try again"),
        _ if step == Step::Commit => StoreError::Unanswered(sentence(
            path,
            &format!("did not say whether a change was written ({error})"),
            "the next look at it shows",
        )),
        _ => refused(
            path,
            &format!("cannot be used ({error})"),
            "if another program changed it, end the jobs that hold a lock in it and move it away; a new one is made",
        ),
    }
}

/// Why SQLite may not open or write the file, as far as the file itself shows.
pub(super) fn unopened(path: &Path, said: &str) -> StoreError {
    let folder = path.parent().unwrap_or(path);
    if statvfs(folder).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
        || statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
    {
        return refused(
            path,
            "is on a read-only filesystem",
            "mount it writable, or name a file elsewhere as the store's path",
        );
    }
    let log = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let needed = [
        (folder.to_owned(), Access::WRITE_OK | Access::EXEC_OK),
        (path.to_owned(), Access::READ_OK | Access::WRITE_OK),
        (log("-wal"), Access::READ_OK | Access::WRITE_OK),
        (log("-shm"), Access::READ_OK | Access::WRITE_OK),
    ];
    for (file, how) in needed {
        match access(&file, how) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return forbidden(path, &file, errno),
        }
    }
    for file in [path.to_owned(), log("-wal"), log("-shm")] {
        if fs::symlink_metadata(&file).is_ok_and(|found| !found.is_file()) {
            let cause = format!("cannot be opened: {} is no regular file", file.display());
            return refused(path, &cause, "remove that one once no job holds a lock");
        }
    }
    refused(
        path,
        &format!("cannot be opened for writing ({said})"),
        "name a file on a disk of this host as the store's path",
    )
}

fn forbidden(path: &Path, file: &Path, errno: Errno) -> StoreError {
    let whose = fs::symlink_metadata(file)
        .map(|found| format!(", which belongs to user {} with mode {:o}", found.uid(), found.mode() & 0o7777))
        .unwrap_or_default();
    let user = geteuid().as_raw();
    refused(
        path,
        &format!("cannot be opened: user {user} may not write {}{whose} ({errno})", file.display()),
        "run as the user that the file belongs to, or name another file as the store's path for all",
    )
}

fn io_trouble(path: &Path, step: Step, error: &rusqlite::Error, system: Option<io::Error>) -> StoreError {
    let said = system.as_ref().map_or_else(|| error.to_string(), |system| format!("{error}: {system}"));
    let cause = format!("was not read or written ({said})");
    if step == Step::Commit {
        return StoreError::Unanswered(sentence(path, &cause, "the next look at it shows what is there"));
    }
    let no_room = statvfs(path).is_ok_and(|fs| fs.f_bavail == 0);
    if no_room || system.as_ref().is_some_and(is_full) {
        return full(path);
    }
    passing(path, &cause, "look at the disk and the kernel's log")
}

fn full(path: &Path) -> StoreError {
    passing(path, "was not written, as its disk or quota is full", "free some space; nothing was changed")
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The system's error behind SQLite's last one.
fn system_error(connection: &Connection) -> Option<io::Error> {
    // SAFETY: the handle is that of an open connection, borrowed for this one call, which only reads a number.
    let errno = unsafe { ffi::sqlite3_system_errno(connection.handle()) };
    (errno != 0).then(|| io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of an error of SQLite's with this code, at this step.
    fn at(step: Step, code: i32) -> StoreError {
        let connection = Connection::open_in_memory().unwrap();
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        sqlite_trouble(Path::new("/tmp/locks.db"), step, &error, &connection)
    }

    #[test]
    fn what_fails_at_the_end_mark_may_have_taken_effect_and_what_fails_before_has_not() {
        for code in [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_INTERRUPT] {
            assert!(matches!(at(Step::Commit, code), StoreError::Unanswered(_)), "{code}");
            for step in [Step::Open, Step::Read, Step::Write] {
                assert!(!matches!(at(step, code), StoreError::Unanswered(_)), "{code} at {step:?}");
            }
        }
        assert!(matches!(at(Step::Write, ffi::SQLITE_IOERR), StoreError::Unavailable(_)));
        assert!(matches!(at(Step::Write, ffi::SQLITE_INTERRUPT), StoreError::Refused(_)));
    }

    #[test]
    fn a_full_disk_or_a_busy_file_passes_at_each_step() {
        for step in [Step::Open, Step::Read, Step::Write, Step::Commit] {
            for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM] {
                assert!(matches!(at(step, code), StoreError::Unavailable(_)), "{code} at {step:?}");
            }
        }
    }
}
