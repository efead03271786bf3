//! How an acquire is to go.

use std::time::Duration;

/// How an acquire waits, and how its hold is kept.
#[derive(Clone, Copy, Debug)]
pub struct AcquireOptions {
    /// Waits at most this long; zero: takes the lock or fails at once.
    pub wait: Duration,
    /// From one renewal to the next; `None`: a quarter of the lease.
    pub heartbeat: Option<Duration>,
}
