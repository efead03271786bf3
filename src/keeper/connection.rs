//! A stage's side of the talk with its keeper.

use std::{
    io,
    os::{fd::BorrowedFd, unix::net::UnixStream},
    time::Duration,
};

use super::{
    folder::JobFolder,
    protocol::{Ask, Tell},
    wire,
};
use crate::host::{clock::BootTime, peer};

/// Waits until the keeper on the other side has ended, or fails with `TimedOut`.
pub fn wait_for_end(connection: &Connection, patience: Duration) -> io::Result<()> {
    let until = BootTime::now() + patience;
    loop {
        let left = until.since(BootTime::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time"));
        }
        connection.set_patience(Some(left))?;
        match connection.hear() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A connection to a job's keeper.
#[derive(Debug)]
pub struct Connection(UnixStream);

impl Connection {
    /// Connects to the keeper of `folder`. An error of kind `NotFound` or `ConnectionRefused`: it is dead.
    pub fn open(folder: &JobFolder) -> io::Result<Self> {
        peer::connect(&folder.socket()).map(Self)
    }

    /// The connection that [`super::spawn`] made.
    pub const fn of(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Asks something.
    pub fn ask(&self, ask: &Ask, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        wire::send(&self.0, ask, fds)
    }

    /// The next thing that the keeper says; `None` when it is gone.
    pub fn hear(&self) -> io::Result<Option<Tell>> {
        match wire::receive(&self.0) {
            Ok(message) => Ok(message.map(|(tell, _)| tell)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets [`Connection::hear`] fail with `WouldBlock` after this time; `None`: never.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(patience)
    }

    /// The socket, to be polled.
    pub const fn stream(&self) -> &UnixStream {
        &self.0
    }
}
