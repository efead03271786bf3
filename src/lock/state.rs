//! What a lock's document says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Beat, EpochMs, Fence, Line, Map, Owner, Rev, Ticket, Token, Who};

/// The version of the document that this program writes.
pub const FORMAT: u32 = 1;

/// How a hold gets on with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Together with nobody of the other mode, and with as many of its own as the limit admits (one).
    #[default]
    Exclusive,
    /// Together with any number of other shared holds.
    Shared,
}

impl Mode {
    /// The word for it, in documents and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        }
    }

    /// The number of holders that this mode admits unless told otherwise.
    pub const fn default_limit(self) -> Limit {
        match self {
            Self::Exclusive => Limit(1),
            Self::Shared => Limit(u32::MAX),
        }
    }
}

/// How many holders a request admits beside itself, itself counted. The smallest one among the holders and
/// the request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(pub u32);

/// Where a waiter stands among those of its priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Behind all who wait: first come, first served.
    #[default]
    First,
    /// Before all who wait.
    Newest,
}

impl Order {
    /// The word for it, in documents and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Newest => "newest",
        }
    }
}

/// How a hold ends when nobody gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// A process watches over it.
    Live {
        /// The count of its renewals.
        beat: Beat,
        /// How long the hold outlives its last renewal; fixed for a token. `None`: the process has a kernel
        /// lock on this host instead, and nothing to renew.
        lease: Option<Duration>,
    },
    /// No process watches over it (a command line's `acquire`): it ends by the store's clock, or never.
    Static {
        /// When it ends; `None`: only by a release.
        until: Option<EpochMs>,
    },
}

/// One hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// Whose it is.
    pub owner: Owner,
    /// Its incarnation.
    pub token: Token,
    /// Its fencing number; `None` for one that was granted by a first write: then it is the document's.
    pub fence: Option<Fence>,
    /// How it gets on with others.
    pub mode: Mode,
    /// How many holders it admits.
    pub limit: Limit,
    /// Which one of the lock's places it has: the smallest that was free, below its limit. The members of a
    /// pipeline share one.
    pub slot: u32,
    /// What it deploys.
    pub line: Option<Line>,
    /// How it ends when nobody gives it back.
    pub term: Term,
    /// When it was granted, by the holder's wall clock.
    pub since: EpochMs,
    /// Who it is, for people.
    pub who: Who,
    /// Who wants it to end: the holder stops its job, then releases.
    pub revoked: Option<String>,
    /// Why the lock is kept from everyone, if this is no hold but a reservation. Who holds already goes on.
    pub reserved: Option<String>,
    /// Whether no job of the pipeline runs now: the hold is kept for the pipeline's next one.
    pub between: bool,
    /// Attributes that this version does not know: written back as they were.
    pub extra: Map,
}

/// One entry of the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiter {
    /// Whose it is.
    pub owner: Owner,
    /// Its incarnation.
    pub token: Token,
    /// When it came, among the waiters of this lock.
    pub ticket: Ticket,
    /// What it asks for.
    pub mode: Mode,
    /// How many holders it admits.
    pub limit: Limit,
    /// Higher goes first; 0 unless asked for.
    pub priority: i32,
    /// How many later ones of a higher priority went first: each raises the own priority by one.
    pub overtaken: u32,
    /// Where it stands among those of its priority.
    pub order: Order,
    /// What it is to deploy.
    pub line: Option<Line>,
    /// When it came, by the waiter's wall clock.
    pub since: EpochMs,
    /// How often it was passed over because it did not claim.
    pub missed: u32,
    /// Who it is, for people; short.
    pub who: Who,
    /// Attributes that this version does not know: written back as they were.
    pub extra: Map,
}

/// The document of one lock.
#[derive(Clone, Debug, PartialEq)]
pub struct LockState {
    /// The version of the program that made it, as far as the form goes.
    pub format: u32,
    /// Its revision.
    pub rev: Rev,
    /// The last fencing number that was given out.
    pub fence: Fence,
    /// Who holds the lock.
    pub holders: Vec<Holder>,
    /// Who waits, in the order in which they came.
    pub queue: Vec<Waiter>,
    /// Which pipelines took the places of older ones of their lines, the latest last: so the older one learns
    /// why its place is gone. [`MAX_NEWEST`](super::line::MAX_NEWEST) at most.
    pub newest: Vec<Line>,
    /// When DynamoDB may delete it, in epoch seconds; set only on a lock that nobody holds or awaits.
    pub expires_at: Option<u64>,
    /// Attributes that this version does not know: written back as they were. A document of a newer format
    /// is here whole.
    pub extra: Map,
}

impl LockState {
    /// A lock that nobody ever held. `seed` is the wall clock's epoch milliseconds: revisions and fencing
    /// numbers begin there, so that none comes back after a document was deleted.
    pub fn new(seed: EpochMs) -> Self {
        Self {
            format: FORMAT,
            rev: Rev(seed.0),
            fence: Fence(seed.0),
            holders: Vec::new(),
            queue: Vec::new(),
            newest: Vec::new(),
            expires_at: None,
            extra: Map::new(),
        }
    }

    /// Whether a newer program made this document: then one's own token may be released and renewed, and
    /// nothing else is touched.
    pub const fn is_newer(&self) -> bool {
        self.format > FORMAT
    }

    /// Neither held nor awaited.
    pub const fn is_free(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// The hold of `token`.
    pub fn holder(&self, token: Token) -> Option<&Holder> {
        self.holders.iter().find(|h| h.token == token)
    }

    /// Whether `token` holds. What it has left standing for its pipeline's next job is nobody's hold any more.
    pub fn is_held_by(&self, token: Token) -> bool {
        self.holder(token).is_some_and(|h| !h.between)
    }

    /// The queue's entry of `token`.
    pub fn waiter(&self, token: Token) -> Option<&Waiter> {
        self.queue.iter().find(|w| w.token == token)
    }

    /// The fencing number of a holder of this document.
    pub fn fence_of(&self, holder: &Holder) -> Fence {
        holder.fence.unwrap_or(self.fence)
    }
}
