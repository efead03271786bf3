//! A number of places of which processes of this host take one each: a taken one is a file under flock(2), so that a
//! process that dies leaves its place.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::private_folder::{make_missing, open_or_make};

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub struct Place {
    /// Close-on-exec; its flock is the claim.
    _file: File,
}

/// Takes one of `most` places in `folder`, which is made (mode 700) if it is missing. `None`: all are taken.
///
/// # Errors
/// The folder or a file in it can't be made or opened.
pub fn take(folder: &Path, most: u32) -> io::Result<Option<Place>> {
    make_missing(folder)?;
    for number in 0..most {
        let file =
            open_or_make(&folder.join(number.to_string()), OpenOptions::new().write(true).truncate(false))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(Place { _file: file })),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_were_said_and_each_comes_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let take = || take(&folder.path().join("places"), 2).unwrap();
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some());
        assert!(take().is_none());
        drop(first);
        assert!(take().is_some());
    }
}
