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
    /// The process that has the id `pid` now; none if there is none, or only a zombie.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Stat::read(pid).filter(Stat::is_alive).map(|stat| stat.id())
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
    /// A process that `/proc` hides (`hidepid`, another user's) but that the kernel knows counts as alive: it may
    /// be the one.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match Stat::read(self.pid) {
            Some(stat) => stat.start_time == self.start_time && stat.is_alive(),
            None => test_kill_process(self.pid.into()) == Err(rustix::io::Errno::PERM),
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
        match Stat::read(self.pid) {
            Some(stat) => Ok((stat.start_time == self.start_time).then_some(fd)),
            None if self.is_alive() => Err(io::ErrorKind::PermissionDenied.into()),
            None => Ok(None),
        }
    }

    /// Sends `signal` to this very process. Tells whether it was there to get it.
    ///
    /// # Errors
    /// `PermissionDenied` when the process runs as another user.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        let sent = match self.pidfd() {
            Ok(None) => return Ok(false),
            Ok(Some(fd)) => pidfd_send_signal(&fd, signal),
            // No pidfd to be had: the id may be used again between the look and the kill, which is as close as it gets.
            Err(_) if self.is_alive() => kill_process(self.pid.into(), signal),
            Err(_) => return Ok(false),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
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
        Stat::read(self.pid).filter(|stat| stat.start_time == self.start_time).map(|stat| stat.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{Guarded, eventually};
    use std::process::Command;

    fn sleeper() -> Guarded {
        Guarded::spawn(Command::new("sleep").arg("600"))
    }

    fn id_of(child: &Guarded) -> ProcId {
        ProcId::of(child.pid()).expect("the child lives")
    }

    #[test]
    fn a_pid_is_positive() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-4), None);
        assert_eq!(serde_json::from_str::<Pid>("7").unwrap(), Pid::new(7).unwrap());
        assert!(serde_json::from_str::<Pid>("0").is_err());
    }

    #[test]
    fn a_zombie_counts_as_dead() {
        let mut child = sleeper();
        let id = id_of(&child);
        assert!(id.is_alive());
        child.0.kill().unwrap();
        eventually("the child, killed and not reaped, is dead", || !id.is_alive());
        assert_eq!(ProcId::of(id.pid), None);
        assert!(Stat::read(id.pid).is_some(), "it was still a zombie");
        child.0.wait().unwrap();
        assert!(!id.is_alive(), "and reaped it is dead as well");
    }

    #[test]
    fn a_process_with_the_same_id_and_another_start_is_not_taken_for_it() {
        let child = sleeper();
        let id = id_of(&child);
        let former = ProcId { start_time: id.start_time - 1, ..id };
        assert!(!former.is_alive());
        assert!(former.pidfd().unwrap().is_none());
        assert_eq!(former.command(), None);
        assert!(!former.signal(Signal::KILL).unwrap());
        assert!(id.is_alive(), "the later process was not hit");
        assert_eq!(id.command().as_deref(), Some("sleep"));
    }

    #[test]
    fn a_signal_reaches_the_process_and_tells_when_it_is_gone() {
        let mut child = sleeper();
        let id = id_of(&child);
        assert!(id.signal(Signal::TERM).unwrap());
        child.0.wait().unwrap();
        assert!(!id.signal(Signal::TERM).unwrap());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_without_reaping_it() {
        let mut child = sleeper();
        let id = id_of(&child);
        let wait = tokio::spawn(id.ended());
        tokio::task::yield_now().await;
        assert!(!wait.is_finished());
        child.0.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it is seen").unwrap();
        child.0.wait().unwrap();
        id.ended().await;
    }

    #[test]
    fn this_process_and_its_parent_are_known() {
        assert!(ProcId::me().is_alive());
        assert_ne!(Pid::parent(), Some(Pid::me()));
    }
}
