//! Who uses the database now, shown by a kernel lock, and which files they use. A database that is made anew while its
//! users live, or put in the place of theirs, would give their locks out a second time; so would a new log beside it,
//! as the log has what was written last.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use super::{
    place::{FileId, Place},
    trouble::{refused, system_trouble},
};
use crate::store::StoreError;

/// How long those who come at once may keep each other from the lock: each has it for some microseconds.
const OTHERS: Duration = Duration::from_millis(500);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// A user of the database, for as long as this lives.
#[derive(Debug)]
pub(super) struct User {
    /// Its flock is shared by all users. Who has it alone may say which files they use.
    _file: File,
}

impl User {
    /// Joins the users of the database at `place`, which is open as `database`, with its log.
    pub(super) fn join(place: &Place, database: FileId) -> Result<Self, StoreError> {
        let trouble = |error: io::Error| system_trouble(&users(place), "cannot be used", &error);
        let file = open(place, true).map_err(trouble)?;
        let own = names(place, database).map_err(trouble)?;
        let until = Instant::now() + OTHERS;
        loop {
            if try_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(trouble)? {
                file.set_len(0).and_then(|()| file.write_all_at(own.as_bytes(), 0)).map_err(trouble)?;
            }
            if try_lock(&file, FlockOperation::NonBlockingLockShared).map_err(trouble)?
                && read(&file).map_err(trouble)? == own
            {
                return Ok(Self { _file: file });
            }
            if Instant::now() >= until {
                return Err(refused(
                    &place.path,
                    "has come in the place of another one, or without its log (-wal), while processes that use the \
                     old ones are alive",
                    "bring those back, or end the jobs that use them and try again",
                ));
            }
            try_lock(&file, FlockOperation::NonBlockingUnlock).map_err(trouble)?;
            thread::sleep(PAUSE);
        }
    }

    /// Refuses to make a database whose users are alive.
    pub(super) fn check_none_lives(place: &Place) -> Result<(), StoreError> {
        let until = Instant::now() + OTHERS;
        while somebody_lives(place)
            .map_err(|error| system_trouble(&users(place), "cannot be used", &error))?
        {
            // Whoever lives there had a database: if there is one now, it was made since we looked.
            if place.look()?.is_some() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(refused(
                    &place.path,
                    &format!(
                        "is gone, while processes that used it are alive (they lock {})",
                        users(place).display()
                    ),
                    "bring it back, or end those jobs and try again",
                ));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

fn somebody_lives(place: &Place) -> io::Result<bool> {
    match open(place, false) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        file => Ok(!try_lock(&file?, FlockOperation::NonBlockingLockExclusive)?),
    }
}

fn users(place: &Place) -> PathBuf {
    place.folder.join("users")
}

/// The database and its log, as the kernel tells files apart.
fn names(place: &Place, database: FileId) -> io::Result<String> {
    let log = FileId::of(&fs::symlink_metadata(place.log())?);
    Ok(format!("{database} {log}"))
}

/// Root may come first, to a database of another user.
fn open(place: &Place, make: bool) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let path = users(place);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    match options.open(&path) {
        Err(error) if make && error.kind() == io::ErrorKind::NotFound => {}
        file => return own(file?),
    }
    let file = own(options.create(true).open(path)?)?;
    let folder = fs::symlink_metadata(&place.folder)?;
    if folder.uid() != file.metadata()?.uid() {
        fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(file)
}

/// What is written here goes into no other file: who put something in its place may mean one of its user's.
fn own(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.is_file() && found.nlink() <= 1 {
        return Ok(file);
    }
    Err(io::Error::other(
        "it is no file, or has another name (a hard link): end the jobs that use it and remove it",
    ))
}

fn read(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; 200];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
