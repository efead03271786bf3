//! Whether the keeper of a cgroup lives, told by the kernel: by a flock(2) on the cgroup's own directory, which ends
//! with the keeper. As for [presences](super::presence), whoever removes the directory does so while holding the
//! flock, so that who has just made one looks at its name again after getting it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat};
use rustix::io::Errno;

/// How often a directory is made that somebody else takes for forsaken in the moment before it is claimed.
const TRIES: u32 = 100;

/// The pause between two of these tries.
const PAUSE: Duration = Duration::from_millis(1);

/// Makes a cgroup at `path`, claimed until the result is closed.
///
/// # Errors
/// What the kernel says: no permission above all.
pub(super) fn make(path: &Path) -> io::Result<OwnedFd> {
    for _ in 0..TRIES {
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(claim) = of_the_dead(path)? {
            return Ok(claim);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Errno::WOULDBLOCK.into())
}

/// Claims the cgroup at `path`; none if its keeper lives, or if it is gone.
///
/// # Errors
/// What the kernel says: nothing is known then.
pub(super) fn of_the_dead(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(is_at(&directory, path)?.then_some(directory)),
    }
}

/// Whether `path` still leads to what was opened there.
fn is_at(directory: impl AsFd, path: &Path) -> io::Result<bool> {
    let opened = fstat(directory)?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((opened.st_dev, opened.st_ino) == (named.dev(), named.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
