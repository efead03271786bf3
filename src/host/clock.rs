//! Clocks, and what tells one boot of one host from another.
//!
//! Every deadline of this program is on `CLOCK_BOOTTIME`: it never jumps, and it goes on while the machine is
//! suspended, so a machine that wakes up knows how much of a lease is gone. Wall clock time is for people only.

use std::io;
use std::ops::{Add, AddAssign};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use serde::{Deserialize, Serialize};

use super::async_fd::watch_readable;

/// How often a sleeper looks at the clock where it can have no timer of the kernel.
const COARSE_TICK: Duration = Duration::from_millis(500);

/// How many sleepers of a process have a timer of the kernel at most, a descriptor each: a process that holds a
/// thousand locks needs its descriptors for other things.
const MOST_TIMERS: usize = 64;

/// How many have one now.
static TIMERS: AtomicUsize = AtomicUsize::new(0);

/// A moment of this boot of this host: the time since boot on `CLOCK_BOOTTIME`, time in suspend included.
///
/// Processes of one boot may tell each other such moments; for any other they mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(Duration);

impl BootTime {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Self(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    /// The moment that lies `since_boot` after the boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long after the boot this moment lies.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this moment lies; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `by` before this one; the boot itself if that would lie before it.
    #[must_use]
    pub const fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }

    fn timespec(self) -> Timespec {
        Timespec {
            tv_sec: i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: self.0.subsec_nanos().into(),
        }
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    /// The moment `by` after this one; a sum too large to tell is the end of time.
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl AddAssign<Duration> for BootTime {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

/// A timer on `CLOCK_BOOTTIME` that is a file descriptor: readable, for poll(2) and the like, from its moment on.
///
/// After a suspend it is readable at once if its moment has passed, which no timer on `CLOCK_MONOTONIC` is.
#[derive(Debug)]
pub struct BootTimer(OwnedFd);

impl BootTimer {
    /// A timer that is not armed: it never becomes readable.
    ///
    /// # Errors
    /// What timerfd_create(2) says, such as too many open files.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// A timer that is readable from `at` on.
    ///
    /// # Errors
    /// As for [`BootTimer::new`].
    pub fn at(at: BootTime) -> io::Result<Self> {
        let timer = Self::new()?;
        timer.arm(at)?;
        Ok(timer)
    }

    /// Makes the timer readable from `at` on, and not before; a moment in the past means at once.
    ///
    /// # Errors
    /// What timerfd_settime(2) says.
    pub fn arm(&self, at: BootTime) -> io::Result<()> {
        // A value of zero would disarm the timer.
        self.set(at.max(BootTime(Duration::from_nanos(1))).timespec())
    }

    /// Makes the timer not readable until it is armed again.
    ///
    /// # Errors
    /// What timerfd_settime(2) says.
    pub fn disarm(&self) -> io::Result<()> {
        self.set(Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    fn set(&self, it_value: Timespec) -> io::Result<()> {
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for BootTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Waits until `at`, on `CLOCK_BOOTTIME`: a machine that was suspended past that moment sees it as it wakes.
///
/// Dropping the future drops the timer. Where the kernel gives no timer (too many open files), or where many sleep in
/// this process already, it looks at the clock twice a second.
///
/// # Panics
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn sleep_until(at: BootTime) {
    if BootTime::now() >= at {
        return;
    }
    if let Some(_seat) = Seat::take()
        && let Err(error) = sleep_by_the_kernel(at).await
    {
        tracing::debug!(%error, "no timer of the kernel, looking at the clock instead");
    }
    loop {
        let left = at.since(BootTime::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(COARSE_TICK)).await;
    }
}

async fn sleep_by_the_kernel(at: BootTime) -> io::Result<()> {
    let timer = watch_readable(BootTimer::at(at)?.0)?;
    timer.readable().await.map(drop)
}

/// One of the [`MOST_TIMERS`] of this process, until it is dropped.
struct Seat;

impl Seat {
    fn take() -> Option<Self> {
        let one_more = |taken| (taken < MOST_TIMERS).then_some(taken + 1);
        TIMERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        TIMERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The wall clock, in milliseconds since 1970. For people and for numbers that should grow; never compared with
/// another machine's.
#[must_use]
pub fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The id of this boot of this host, from `/proc/sys/kernel/random/boot_id`.
///
/// Where that can't be read it is one that no other process has, so nobody is mistaken for a neighbour.
#[must_use]
pub fn boot_id() -> String {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    let read = || kernel_word("/proc/sys/kernel/random/boot_id");
    BOOT_ID.get_or_init(|| read().unwrap_or_else(|| uuid::Uuid::new_v4().to_string())).clone()
}

/// The name of this host as the kernel has it; `localhost` where that can't be read.
#[must_use]
pub fn hostname() -> String {
    kernel_word("/proc/sys/kernel/hostname").unwrap_or_else(|| "localhost".to_owned())
}

fn kernel_word(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let word = text.trim();
    (!word.is_empty()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn is_readable(timer: &BootTimer, within: Duration) -> bool {
        let timeout =
            Timespec { tv_sec: within.as_secs().try_into().unwrap(), tv_nsec: within.subsec_nanos().into() };
        poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn boot_time_grows_with_the_uptime_of_the_kernel() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let now = BootTime::now();
        assert!((now.since_boot().as_secs_f64() - uptime).abs() < 5.0, "{now:?} is not near {uptime} s");
        assert!(BootTime::now() >= now);
    }

    #[test]
    fn moments_do_not_leave_their_range() {
        let early = BootTime::from_boot(Duration::from_secs(5));
        let late = early + Duration::from_secs(2);
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.before(Duration::from_secs(9)), BootTime::from_boot(Duration::ZERO));
        assert!(late + Duration::MAX > late);
    }

    #[test]
    fn a_timer_is_readable_from_its_moment_on_and_not_before() {
        let timer = BootTimer::new().unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "not armed");
        timer.arm(BootTime::now() + Duration::from_secs(3600)).unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "armed for later");
        timer.arm(BootTime::from_boot(Duration::ZERO)).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(20)), "armed for the past");
        timer.disarm().unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "disarmed");
        timer.arm(BootTime::from_boot(Duration::MAX)).unwrap();
        assert!(!is_readable(&timer, Duration::ZERO), "armed for the end of time");
    }

    #[tokio::test]
    async fn sleep_ends_at_its_moment() {
        let at = BootTime::now() + Duration::from_millis(30);
        tokio::time::timeout(Duration::from_secs(20), sleep_until(at)).await.expect("it ends");
        assert!(BootTime::now() >= at);
        sleep_until(BootTime::from_boot(Duration::ZERO)).await;
    }

    #[tokio::test]
    async fn many_sleepers_share_few_timers_and_all_wake_at_their_moments() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (before, at) = (open(), BootTime::now() + Duration::from_millis(300));
        let sleepers: Vec<_> = (0..500).map(|_| tokio::spawn(sleep_until(at))).collect();
        tokio::task::yield_now().await;
        assert!(open() < before + 400, "{} descriptors more", open() - before);
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
        assert!(BootTime::now() >= at);
    }

    #[test]
    fn boot_and_host_have_names() {
        let boot = boot_id();
        assert_eq!(boot.len(), 36, "{boot}");
        assert_eq!(boot, boot_id());
        assert!(!hostname().is_empty());
        assert!(wall_ms() > 1_700_000_000_000);
    }
}
