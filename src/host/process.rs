//! Facts about processes, from `/proc` and by pidfd.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal, test_kill_process};

pub use rustix::process::Signal;

use super::async_fd::watch_readable;
use super::proc_stat::Stat;

pub use super::pid::{Pid, ProcId};

/// How often a process is looked up while it can't be watched by pidfd.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

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

    /// The process group of `pid`; none if it is gone, or if the group's leader lies outside of this pid namespace.
    #[must_use]
    pub fn group_of(pid: Pid) -> Option<Pid> {
        Stat::read(pid).ok().flatten().and_then(|stat| stat.group)
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
