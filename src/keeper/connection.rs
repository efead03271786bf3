//! A stage's side of the talk with its keeper.

use std::{
    io,
    os::{fd::BorrowedFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    folder::JobFolder,
    protocol::{Ask, Farewell, Tell},
    wire,
};
use crate::host::{
    clock::BootTime,
    peer::{self, Peer},
    process::{Pid, ProcId},
};

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

/// How long a keeper that has said farewell may take to be gone, before it is believed to have more to do.
const PARTING: Duration = Duration::from_millis(300);

/// Waits for what becomes of the job's locks, or fails with `TimedOut`. A keeper that dies leaves no word: nothing is
/// released then and nothing has failed.
pub fn wait_for_farewell(connection: &Connection, patience: Duration) -> io::Result<Farewell> {
    let mut until = BootTime::now() + patience;
    let mut said = None;
    loop {
        let left = until.since(BootTime::now());
        if left.is_zero() {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "it did not end in time");
            return said.ok_or_else(late);
        }
        connection.set_patience(Some(left))?;
        match connection.hear() {
            Ok(None) => return Ok(said.unwrap_or_default()),
            Ok(Some(Tell::Ended(farewell))) if !farewell.failed.is_empty() => return Ok(farewell),
            Ok(Some(Tell::Ended(farewell))) => {
                said = Some(farewell);
                until = BootTime::now() + PARTING;
            }
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
    /// Connects to the keeper of `folder`. An error of kind `NotFound` or `ConnectionRefused`: it is dead. One of kind
    /// `PermissionDenied`: another user listens there, who is told nothing.
    pub fn open(folder: &JobFolder) -> io::Result<Self> {
        let stream = peer::connect(&folder.socket())?;
        match Peer::of(&stream)? {
            peer if peer.is_trusted() => Ok(Self(stream)),
            Peer { uid, .. } => {
                let text = format!("{} is user {uid}'s, not this one's", folder.socket().display());
                Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
            }
        }
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
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let text = format!(
                    "this job's keeper says what this version of pipeline-lock does not know ({error}): it was upgraded \
                     while the job ran; retry the job"
                );
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            Err(error) => Err(error),
        }
    }

    /// Lets [`Connection::hear`] fail with `WouldBlock` after this time; `None`: never.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(patience)
    }

    /// The process of the keeper on the other side, by what it wrote into `folder`; none if it is gone. Its number was
    /// its own if it has not hung up since it was looked at.
    pub fn keeper(&self, folder: &JobFolder) -> Option<ProcId> {
        let pid = Pid::new(i32::try_from(folder.read_record().ok()?.pid).ok()?)?;
        ProcId::of(pid).filter(|_| !self.is_over())
    }

    /// Whether the other side has hung up.
    fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            match poll(&mut fds, Some(&now)) {
                Err(Errno::INTR) => {}
                polled => return polled.is_err() || !fds[0].revents().is_empty(),
            }
        }
    }

    /// The socket, to be polled.
    pub const fn stream(&self) -> &UnixStream {
        &self.0
    }
}
