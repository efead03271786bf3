//! A database that was removed while jobs held locks in it: a new one would give them out a second time.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{
    place::Place,
    trouble::{refused, system_trouble},
};
use crate::store::StoreError;

/// Refuses to make a database whose holders are alive by their kernel locks.
pub(super) fn check(place: &Place) -> Result<(), StoreError> {
    let folder = &place.folder;
    let alive = somebody_lives(folder)
        .map_err(|error| system_trouble(folder, "cannot be searched for living holders", &error))?;
    // Whoever lives there had a database: if there is one now, it was made since we looked.
    if !alive || place.look()?.is_some() {
        return Ok(());
    }
    Err(refused(
        &place.path,
        &format!("is gone, while processes that used it are alive (they lock files in {})", folder.display()),
        "bring it back, or end those jobs and try again",
    ))
}

fn somebody_lives(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && is_locked(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_locked(file: &Path) -> io::Result<bool> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).expect("flags of open(2) fit its argument");
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
