//! Time that this host has lost: a machine that was suspended, or whose hypervisor froze it, finds that others went on.
//!
//! The kernel tells of it by a timer on the wall clock that is cancelled when that clock is set (timerfd_create(2),
//! `TFD_TIMER_CANCEL_ON_SET`), as it is on waking up and when a daemon sets it right after a freeze.

use std::{future::pending, io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::async_fd::watch_readable;

/// A suspend that is shorter has cost no renewal.
const ASLEEP: Duration = Duration::from_secs(1);

/// Clocks are set right by less than this without anybody having stood still.
const SET_RIGHT: Duration = Duration::from_secs(2);

/// The clocks of this host at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    /// `CLOCK_BOOTTIME`: goes on through a suspend, and stands still while a hypervisor holds the machine.
    boot: Duration,
    /// `CLOCK_MONOTONIC`: stands still in both.
    awake: Duration,
    /// `CLOCK_REALTIME`.
    wall: Duration,
}

impl Clocks {
    fn now() -> Self {
        let read = |id| {
            let time = clock_gettime(id);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
        };
        Self { boot: read(ClockId::Boottime), awake: read(ClockId::Monotonic), wall: read(ClockId::Realtime) }
    }

    /// How long this host stood still since `before` while others went on, as far as its clocks show.
    fn lost_since(self, before: Self) -> Option<Duration> {
        let (boot, awake) = (self.boot - before.boot, self.awake.saturating_sub(before.awake));
        let asleep = boot.saturating_sub(awake);
        let held = self.wall.saturating_sub(before.wall).saturating_sub(boot);
        if asleep >= ASLEEP {
            return Some(asleep);
        }
        (held >= SET_RIGHT).then_some(held)
    }
}

/// Tells when this host has lost time.
#[derive(Debug)]
pub struct LostTime {
    timer: Option<AsyncFd<OwnedFd>>,
    last: Clocks,
}

impl LostTime {
    /// Looks from now on. Where the kernel gives no such timer nothing is ever told.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    #[must_use]
    pub fn watch() -> Self {
        let timer =
            armed().inspect_err(|error| tracing::debug!(%error, "a jump of the clocks will not be seen"));
        Self { timer: timer.ok(), last: Clocks::now() }
    }

    /// Waits until this host has lost time; how much. Dropping the future loses nothing.
    pub async fn lost(&mut self) -> Duration {
        loop {
            let Some(timer) = &self.timer else { return pending().await };
            if timer.readable().await.is_err() {
                self.timer = None;
                continue;
            }
            // Cancelled: it is armed anew by a new one, as a cancelled one tells of it again and again.
            self.timer = armed().ok();
            let now = Clocks::now();
            let lost = now.lost_since(self.last);
            self.last = now;
            if let Some(lost) = lost {
                return lost;
            }
        }
    }
}

fn armed() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: i64::MAX / 2_000_000_000, tv_nsec: 0 },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    watch_readable(timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot: u64, awake: u64, wall: u64) -> Clocks {
        Clocks {
            boot: Duration::from_secs(boot),
            awake: Duration::from_secs(awake),
            wall: Duration::from_secs(wall),
        }
    }

    #[test]
    fn a_suspend_shows_between_the_clocks_of_the_boot() {
        let before = clocks(100, 100, 5000);
        assert_eq!(clocks(400, 110, 5300).lost_since(before), Some(Duration::from_secs(290)));
    }

    #[test]
    fn a_machine_that_was_held_shows_on_the_wall_clock() {
        let before = clocks(100, 100, 5000);
        assert_eq!(clocks(110, 110, 5070).lost_since(before), Some(Duration::from_secs(60)));
    }

    #[test]
    fn clocks_that_go_on_or_are_set_right_or_back_have_lost_nothing() {
        let before = clocks(100, 100, 5000);
        for now in [clocks(110, 110, 5010), clocks(110, 110, 5011), clocks(110, 110, 4000)] {
            assert_eq!(now.lost_since(before), None, "{now:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_told_while_the_clocks_go_on() {
        let mut time = LostTime::watch();
        assert!(time.timer.is_some(), "this kernel tells of jumps");
        let quiet = tokio::time::timeout(Duration::from_millis(50), time.lost()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}
