//! The names of processes: a number, and a number with the time of its start.

use std::fmt;
use std::num::NonZeroI32;
use std::process::Child;

use serde::{Deserialize, Serialize};

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
