//! The clock that the client tells time by; tests put a virtual one in its place.

use async_trait::async_trait;

use crate::{
    host::clock::{self, BootTime},
    lock::{EpochMs, Moment},
};

/// Time on this host.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, counted from this host's boot and through suspends.
    fn now(&self) -> Moment;

    /// Now, on the wall clock: for people, and for numbers that only have to be new.
    fn wall(&self) -> EpochMs;

    /// Returns at `moment`, or at once if it is over.
    async fn sleep_until(&self, moment: Moment);
}

/// The real clock: `CLOCK_BOOTTIME`, so that a machine that wakes from suspend knows how long it slept.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

#[async_trait]
impl Clock for HostClock {
    fn now(&self) -> Moment {
        Moment(BootTime::now().since_boot())
    }

    fn wall(&self) -> EpochMs {
        EpochMs(clock::wall_ms())
    }

    async fn sleep_until(&self, moment: Moment) {
        clock::sleep_until(BootTime::from_boot(moment.0)).await;
    }
}
