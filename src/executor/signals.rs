//! Signals as something that poll(2) sees. They are handled, never ignored: what a stage ignores its script
//! would inherit, and bash can't trap what was ignored on entry.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    low_level::pipe,
};

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

    /// The signals that came since the last call.
    pub fn take(&self) -> Vec<i32> {
        let came = |stream: &UnixStream| {
            let mut stream = stream;
            matches!(stream.read(&mut [0; 64]), Ok(n) if n > 0)
        };
        self.told.iter().filter(|(_, stream)| came(stream)).map(|(number, _)| *number).collect()
    }
}
