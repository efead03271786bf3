//! Facts about processes, from `/proc` and by pidfd.

use std::fmt;
use std::io;
use std::num::NonZeroI32;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal, test_kill_process};
use serde::{Deserialize, Serialize};

pub use rustix::process::Signal;

use super::async_fd::watch_readable;
use super::proc_stat::Stat;

/// How often a process is looked up while it can't be watched by pidfd.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The id of a process, greater than zero. Ids are used again: what has to be this very process is a [`ProcId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Pid(NonZeroI32);

impl Pid {
    /// Takes `raw` as the id of a process; none if it is zero or less.
    #[must_use]
    pub fn new(raw: i32) -> Option<Self> {
        NonZeroI32::new(raw).filter(|raw| raw.is_positive()).map(Self)
    }

    /// The id of this process.
    #[must_use]
    pub fn me() -> Self {
        rustix::process::getpid().into()
    }

    /// The id of this process's parent; none if that lives outside of this pid namespace.
    #[must_use]
    pub fn parent() -> Option<Self> {
        rustix::process::getppid().map(Self::from)
    }

    /// The id of a child of this process.
    #[must_use]
    pub fn of_child(child: &Child) -> Self {
        let raw = i32::try_from(child.id()).ok().and_then(Self::new);
        raw.expect("the kernel's process ids are positive and below 2^22")
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Pid> for i32 {
    fn from(pid: Pid) -> Self {
        pid.get()
    }
}

impl TryFrom<i32> for Pid {
    type Error = &'static str;

    fn try_from(raw: i32) -> Result<Self, Self::Error> {
        Self::new(raw).ok_or("a process id is greater than zero")
    }
}

impl From<rustix::process::Pid> for Pid {
    fn from(pid: rustix::process::Pid) -> Self {
        Self(pid.as_raw_nonzero())
    }
}

impl From<Pid> for rustix::process::Pid {
    fn from(pid: Pid) -> Self {
        Self::from_raw(pid.get()).expect("a Pid is not zero")
    }
}

/// One process and no other: its id and when it started, so that a later process with the same id is not taken
/// for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcId {
    /// The id of the process.
    pub pid: Pid,
    /// When it started, in the kernel's ticks since boot (field 22 of `/proc/PID/stat`). Stays the same over
    /// exec and over the adoption by another parent.
    pub start_time: u64,
}

impl ProcId {
    /// The process that has the id `pid` now; none if there is none, or only a zombie, or if it can't be looked at.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Self::look_for(pid).ok().flatten()
    }

    /// As [`ProcId::of`]; an error where this process can't look, for want of open files.
    pub(super) fn look_for(pid: Pid) -> io::Result<Option<Self>> {
        Ok(Stat::read(pid)?.filter(Stat::is_alive).map(|stat| stat.id()))
    }

    /// A child of this process that is not reaped yet, also one that has ended already: until it is reaped, its id
    /// is its own.
    #[must_use]
    pub fn of_unreaped(pid: Pid) -> Option<Self> {
        Stat::read(pid).ok().flatten().map(|stat| stat.id())
    }

    /// Whether the process is stopped, by a signal or a tracer.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        self.stat().is_some_and(|stat| matches!(stat.state, 'T' | 't'))
    }

    /// This process.
    ///
    /// # Panics
    /// Where `/proc` is not mounted; nothing of this program works there.
    #[must_use]
    pub fn me() -> Self {
        Self::of(Pid::me()).expect("/proc is mounted and shows this process")
    }

    /// Whether the process still lives. A zombie is dead, unless another of its threads runs on.
    ///
    /// Where it can't be looked at (hidden by `hidepid`, no more open files) and the kernel knows the id, it counts as
    /// alive: it may be the one.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match Stat::read(self.pid) {
            Ok(Some(stat)) => stat.start_time == self.start_time && stat.is_alive(),
            Ok(None) | Err(_) => test_kill_process(self.pid.into()) != Err(rustix::io::Errno::SRCH),
        }
    }

    /// A file descriptor for this very process, readable once it has ended (pidfd_open(2)); none if it has ended
    /// already and was reaped.
    ///
    /// # Errors
    /// Where pidfds can't be had: kernels before 5.3, too many open files, a seccomp filter, a process that
    /// `/proc` hides.
    pub fn pidfd(self) -> io::Result<Option<OwnedFd>> {
        let fd = match pidfd_open(self.pid.into(), PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The pidfd stands for whoever had the id when it was opened. That is our process if it is there now: had
        // it been reaped before, its start time would have gone with it.
        match Stat::read(self.pid)? {
            Some(stat) => Ok((stat.start_time == self.start_time).then_some(fd)),
            None if self.is_alive() => Err(io::ErrorKind::PermissionDenied.into()),
            None => Ok(None),
        }
    }

    /// Sends `signal` to this very process. Tells whether it was there to get it.
    ///
    /// # Errors
    /// `PermissionDenied` when the process runs as another user; or the want of open files, when nobody can make sure
    /// that this is the process.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        match self.pidfd() {
            Ok(None) => Ok(false),
            Ok(Some(fd)) => was_there(pidfd_send_signal(&fd, signal)),
            Err(_) => self.signal_by_id(signal),
        }
    }

    /// Signals by id where no pidfd is to be had. Between the look and the kill the id may be used again, which is as
    /// close as it gets; without a look there is no kill.
    fn signal_by_id(self, signal: Signal) -> io::Result<bool> {
        match Stat::read(self.pid)? {
            Some(stat) if stat.start_time == self.start_time => {
                was_there(kill_process(self.pid.into(), signal))
            }
            Some(_) => Ok(false),
            None if self.is_alive() => Err(io::ErrorKind::PermissionDenied.into()),
            None => Ok(false),
        }
    }

    /// Waits until the process has ended: at once by pidfd, or by looking twice a second where that can't be had.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn ended(self) {
        let watched = match self.pidfd() {
            Ok(None) => return,
            Ok(Some(fd)) => watch_readable(fd),
            Err(error) => Err(error),
        };
        let watched = match watched {
            Ok(pidfd) => pidfd.readable().await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = watched {
            tracing::debug!(pid = %self.pid, %error, "the process can't be watched, looking at it instead");
        }
        while self.is_alive() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The command's name as the kernel has it, at most 15 bytes; none if the process is gone.
    #[must_use]
    pub fn command(self) -> Option<String> {
        self.stat().map(|stat| stat.command)
    }

    fn stat(self) -> Option<Stat> {
        Stat::read(self.pid).ok().flatten().filter(|stat| stat.start_time == self.start_time)
    }
}

fn was_there(sent: rustix::io::Result<()>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
