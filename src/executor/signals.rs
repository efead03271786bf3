//! Signals as something that poll(2) sees. They are handled, never ignored: what a stage ignores its script
//! would inherit, and bash can't trap what was ignored on entry.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    low_level::pipe,
};

use crate::host::clock::BootTime;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A signal came: its number.
    Told(i32),
    /// There is something to read.
    Heard,
    /// Nothing came in time.
    Quiet,
}

/// The signals that reach a stage.
#[derive(Debug)]
pub struct Signals {
    told: Vec<(i32, UnixStream)>,
}

impl Signals {
    /// Handles TERM, INT, QUIT and HUP from now on.
    pub fn handle() -> io::Result<Self> {
        let mut told = Vec::new();
        for number in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            pipe::register(number, write)?;
            told.push((number, read));
        }
        Ok(Self { told })
    }

    /// What to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.told.iter().map(|(_, stream)| stream.as_fd())
    }

    /// Waits until `stream` can be read, until one of the signals comes that `minds` names, or for `patience`;
    /// `None`: as long as it takes.
    pub fn or_heard(
        &self,
        stream: &UnixStream,
        patience: Option<Duration>,
        minds: impl Fn(i32) -> bool,
    ) -> io::Result<Woken> {
        let until = patience.map(|patience| BootTime::now() + patience);
        loop {
            let mut fds = vec![PollFd::new(stream, PollFlags::IN)];
            fds.extend(self.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let left = until.map(|until| until.since(BootTime::now()));
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let heard = !fds[0].revents().is_empty();
            if let Some(number) = self.take().into_iter().find(|number| minds(*number)) {
                return Ok(Woken::Told(number));
            }
            if heard {
                return Ok(Woken::Heard);
            }
            if until.is_some_and(|until| BootTime::now() >= until) {
                return Ok(Woken::Quiet);
            }
        }
    }

    /// The signals that came since the last call.
    pub fn take(&self) -> Vec<i32> {
        let came = |stream: &UnixStream| {
            let mut stream = stream;
            matches!(stream.read(&mut [0; 64]), Ok(n) if n > 0)
        };
        self.told.iter().filter(|(_, stream)| came(stream)).map(|(number, _)| *number).collect()
    }
}
