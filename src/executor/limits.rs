//! The times of a wrapped driver's command, by the runner's rules: when it is over its time or told to end it gets
//! TERM, then KILL, and in the end it is given up.

use std::time::Duration;

use crate::{config::Driver, host::clock::BootTime};

/// How long a command may take, and how it is ended.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may take; none: as long as it likes.
    pub patience: Option<Duration>,
    /// From TERM to KILL.
    pub graceful: Duration,
    /// How long KILL is waited for.
    pub force: Duration,
}

impl Limits {
    /// Those of `driver`, for a command that may take this long.
    pub const fn of(driver: &Driver, patience: Option<Duration>) -> Self {
        Self { patience, graceful: driver.graceful_kill, force: driver.force_kill }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is over its time.
    Term,
    Kill,
    GiveUp,
}

/// What is next for a running command.
#[derive(Debug)]
pub(super) struct Countdown {
    limits: Option<Limits>,
    next: Option<(BootTime, Due)>,
}

impl Countdown {
    /// The command starts now. Without limits nothing is ever due.
    pub(super) fn start(limits: Option<Limits>, now: BootTime) -> Self {
        let patience = limits.and_then(|limits| limits.patience);
        Self { limits, next: patience.map(|patience| (now + patience, Due::Term)) }
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<BootTime> {
        self.next.map(|(at, _)| at)
    }

    /// Somebody sent it TERM.
    pub(super) fn told(&mut self, now: BootTime) {
        if let Some(limits) = self.limits
            && matches!(self.next, None | Some((_, Due::Term)))
        {
            self.next = Some((now + limits.graceful, Due::Kill));
        }
    }

    /// What is due now, once.
    pub(super) fn due(&mut self, now: BootTime) -> Option<Due> {
        let (limits, (_, due)) = (self.limits?, self.next.filter(|(at, _)| *at <= now)?);
        self.next = match due {
            Due::Term => Some((now + limits.graceful, Due::Kill)),
            Due::Kill => Some((now + limits.force, Due::GiveUp)),
            Due::GiveUp => None,
        };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        patience: Some(Duration::from_secs(100)),
        graceful: Duration::from_secs(10),
        force: Duration::from_secs(2),
    };

    fn at(seconds: u64) -> BootTime {
        BootTime::from_boot(Duration::from_secs(1000 + seconds))
    }

    #[test]
    fn a_command_over_its_time_gets_term_then_kill_then_nothing() {
        let mut countdown = Countdown::start(Some(LIMITS), at(0));
        assert_eq!((countdown.due(at(99)), countdown.next()), (None, Some(at(100))));
        assert_eq!(countdown.due(at(100)), Some(Due::Term));
        assert_eq!(countdown.due(at(109)), None);
        assert_eq!(countdown.due(at(110)), Some(Due::Kill));
        assert_eq!(countdown.due(at(112)), Some(Due::GiveUp));
        assert_eq!((countdown.due(at(999)), countdown.next()), (None, None));
    }

    #[test]
    fn a_command_that_was_told_to_end_has_its_grace_from_then_on() {
        let mut countdown = Countdown::start(Some(LIMITS), at(0));
        countdown.told(at(50));
        countdown.told(at(55));
        assert_eq!((countdown.due(at(59)), countdown.due(at(60))), (None, Some(Due::Kill)));
    }

    #[test]
    fn without_limits_nothing_is_due() {
        let mut countdown = Countdown::start(None, at(0));
        countdown.told(at(1));
        assert_eq!((countdown.due(at(9999)), countdown.next()), (None, None));
    }
}
