//! What somebody asks of a lock.

use std::time::Duration;

use super::{EpochMs, Limit, Mode, Owner, Term, Token, Who};

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
    /// Higher goes first.
    pub priority: i32,
    /// How the hold is to end when nobody gives it back.
    pub term: Term,
    /// Who asks, for people.
    pub who: Who,
    /// When this step is taken, by the asker's wall clock.
    pub since: EpochMs,
    /// From which age on a static hold is taken and a live one is revoked.
    pub force_after: Option<Duration>,
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
    QueueFull,
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
