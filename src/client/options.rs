//! How an acquire is to go, and how its hold is given back.

use std::time::Duration;

use crate::lock::{LockName, Owner, Request};

/// How an acquire waits, and how its hold is kept and given back.
#[derive(Clone, Debug, Default)]
pub struct AcquireOptions {
    /// Waits at most this long; zero: takes the lock or fails at once.
    pub wait: Duration,
    /// From one renewal to the next; `None`: a quarter of the lease.
    pub heartbeat: Option<Duration>,
    /// How the hold is given back.
    pub parting: Parting,
    /// How many may wait on this host at once; who would be one more fails instead. `None`: any number.
    pub max_waiting: Option<u32>,
    /// On whose behalf other locks may be held already. While one of these owners holds a lock, another whose
    /// name sorts before it is only tried, never waited for: so no two can wait for each other.
    pub beside: Vec<Owner>,
}

impl AcquireOptions {
    /// Waits at most `wait`, with the usual everything else.
    pub fn waiting(wait: Duration) -> Self {
        Self { wait, ..Self::default() }
    }
}

/// How a hold is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parting {
    /// It ends, and nothing else does: what it has left standing for its pipeline before stands on.
    #[default]
    Alone,
    /// A pipeline's last member leaves the hold standing for this long, for the pipeline's next job.
    Linger(Duration),
    /// What the pipeline has left standing ends with it.
    WithThePipeline,
}

/// One of several locks that are asked for together.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The lock.
    pub name: LockName,
    /// What is asked of it.
    pub request: Request,
    /// How.
    pub options: AcquireOptions,
}
