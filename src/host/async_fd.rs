//! Waiting for a file descriptor in tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes `fd` into tokio's poll, for reading.
///
/// # Errors
/// What epoll_ctl(2) says, for instance for a regular file.
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
pub fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped, is always the same one, and `AsyncFd` owns it and takes it out
    // of the poll before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(watched?)
}
