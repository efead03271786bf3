//! From a command's pipe to the stage's own output, bytes as they are, in their order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{SpliceFlags, splice},
};

/// How much is moved at once.
const CHUNK: usize = 64 * 1024;

/// What a copy without splice moves at once: a pipe that is writable takes this much without blocking (pipe(7),
/// `PIPE_BUF`).
const SMALL: usize = 4096;

/// What one move led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// This many bytes went on.
    Some(usize),
    /// Nothing was there, or there was no room for it.
    Nothing,
    /// The script's side is closed.
    End,
}

/// A pipe whose other end the script writes to.
#[derive(Debug)]
pub struct Relay {
    from: OwnedFd,
    to: Sink,
    way: Way,
}

/// Where a relay leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// This process's standard output.
    Output,
    /// This process's standard error.
    Error,
}

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Splice,
    Copy,
    /// Nobody reads any more: the script must not stop for that.
    Discard,
}

impl Relay {
    /// Relays what comes from `from`.
    pub const fn new(from: OwnedFd, to: Sink) -> Self {
        Self { from, to, way: Way::Splice }
    }

    /// The pipe, and where it leads: for who moves the bytes by other means.
    pub fn into_ends(self) -> (OwnedFd, Sink) {
        (self.from, self.to)
    }

    /// Where it goes.
    pub fn sink(&self) -> BorrowedFd<'static> {
        match self.to {
            Sink::Output => rustix::stdio::stdout(),
            Sink::Error => rustix::stdio::stderr(),
        }
    }

    /// What to poll for reading.
    pub fn source(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// Whether the stage's output has to be writable for a move.
    pub fn needs_room(&self) -> bool {
        self.way != Way::Discard
    }

    /// Whether where it goes takes more without blocking.
    pub fn has_room(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.sink(), PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
    }

    /// How many bytes the script's side has written that were not moved yet.
    pub fn pending(&self) -> usize {
        rustix::io::ioctl_fionread(&self.from).ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// Moves what is there, without waiting for more. To be called when the pipe is readable and, if room is
    /// needed, the output writable.
    pub fn step(&mut self) -> Moved {
        loop {
            let moved = match self.way {
                Way::Splice => self.splice(),
                Way::Copy => self.copy(),
                Way::Discard => self.discard(),
            };
            match moved {
                Ok(0) => return Moved::End,
                Ok(moved) => return Moved::Some(moved),
                Err(Errno::AGAIN) => return Moved::Nothing,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.way == Way::Splice => self.way = Way::Copy,
                Err(error) if self.way != Way::Discard => {
                    tracing::debug!(%error, "nobody reads the job's output any more");
                    self.way = Way::Discard;
                }
                Err(_) => return Moved::End,
            }
        }
    }

    fn splice(&self) -> Result<usize, Errno> {
        splice(&self.from, None, self.sink(), None, CHUNK, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)
    }

    fn copy(&self) -> Result<usize, Errno> {
        let mut buffer = [0; SMALL];
        let got = rustix::io::read(&self.from, &mut buffer)?;
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            match rustix::io::write(self.sink(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    fn discard(&self) -> Result<usize, Errno> {
        rustix::io::read(&self.from, &mut [0; SMALL])
    }
}
