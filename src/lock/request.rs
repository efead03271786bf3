//! What somebody asks of a lock.

use std::{ops::RangeInclusive, time::Duration};

use super::{EpochMs, Full, Limit, Line, Mode, Order, Owner, Term, Token, Who};

/// The priorities that may be asked for; others count as the nearest one of these. A difference of d lets d
/// later requests go first at most, so a wide range means a long wait for the lowest.
pub const PRIORITIES: RangeInclusive<i32> = -100..=100;

/// A request for a lock, the same over all its tries.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks.
    pub owner: Owner,
    /// The incarnation that asks.
    pub token: Token,
    /// An older incarnation of the same owner on this host whose processes are known to be dead: its hold or
    /// place is taken over.
    pub replaces: Option<Token>,
    /// How the hold is to get on with others.
    pub mode: Mode,
    /// How many holders it admits, itself counted.
    pub limit: Limit,
    /// Higher goes first; one of [`PRIORITIES`].
    pub priority: i32,
    /// Where it stands among waiters of the same priority.
    pub order: Order,
    /// What it deploys: a newer request of the same line makes it obsolete while it waits.
    pub line: Option<Line>,
    /// How many may wait, itself counted; `None`: as many as there is room for.
    pub max_queue: Option<u32>,
    /// How the hold is to end when nobody gives it back.
    pub term: Term,
    /// Who asks, for people.
    pub who: Who,
    /// When this step is taken: by the store's clock as soon as it is known, else by the asker's. Before the first step
    /// it is when the request was made, from which a static term counts; zero: now.
    pub since: EpochMs,
    /// From which age on a static hold is taken and a live one is revoked. A reservation is neither.
    pub force_after: Option<Duration>,
}

impl Request {
    /// A request with the usual wishes: an exclusive hold, first come, first served.
    pub fn new(owner: Owner, token: Token, term: Term) -> Self {
        Self {
            owner,
            token,
            replaces: None,
            mode: Mode::Exclusive,
            limit: Mode::Exclusive.default_limit(),
            priority: 0,
            order: Order::First,
            line: None,
            max_queue: None,
            term,
            who: Who::default(),
            since: EpochMs(0),
            force_after: None,
        }
    }

    /// The time of a static hold that was counted from `before` counts from `now`; both are times of the store's clock,
    /// or of the clock that stands for it before its first reply.
    pub fn count_from(&mut self, before: EpochMs, now: EpochMs) {
        if let Term::Static { until: Some(until) } = &mut self.term
            && *until > before
        {
            *until = now.plus(until.since(before));
        }
    }

    /// The priority that counts.
    pub(super) fn bounded_priority(&self) -> i32 {
        self.priority.clamp(*PRIORITIES.start(), *PRIORITIES.end())
    }
}

/// What became of a request in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request holds the lock.
    Granted,
    /// The request waits.
    Queued,
    /// It would have to wait and was not to.
    Busy,
    /// The queue is at its limit.
    QueueFull(Full),
    /// A newer pipeline of its line holds the lock or waits for it: the request is to end.
    Obsolete {
        /// The newer pipeline's number.
        by: u64,
    },
}

/// What a holder finds when it looks after its hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Held,
    /// It holds, and somebody asks for the hold's end: stop the work, then release.
    Revoked {
        /// Who asks.
        by: String,
    },
    /// A newer incarnation of the same owner has taken the hold over: clean up one's own, touch nothing else.
    Superseded,
    /// The hold is gone: somebody evicted it or deleted the document.
    Lost,
}
