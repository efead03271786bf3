//! The small words of the core: who, which incarnation, which number.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One incarnation of one request: each try to get a lock has its own, so that a late write, release or
/// renewal can only ever touch what it made itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Uuid);

impl Token {
    /// Takes a UUID made by the caller (the core itself has no randomness).
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Its beginning, for people: enough to find it in a list, and not to know it.
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// The UUID, for file names and process markers.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.hyphenated())
    }
}

impl FromStr for Token {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Who wants or holds a lock, over all of its tries: a CI job, a pipeline, or (outside of CI) one token.
///
/// The owner decides two things: a job that asks again takes over its own place, and the members of one
/// pipeline share one hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(String);

const PIPELINE: &str = "pipeline:";

impl Owner {
    /// A CI job of a GitLab instance.
    pub fn job(instance: &str, job_id: u64) -> Self {
        Self(format!("job:{instance}/{job_id}"))
    }

    /// A CI pipeline of a project (0: unknown) of a GitLab instance; its jobs are members of one hold. The
    /// project is part of it, so that a job which names another pipeline joins none of another project.
    pub fn pipeline(instance: &str, project_id: u64, pipeline_id: u64) -> Self {
        Self(format!("{PIPELINE}{instance}/{project_id}/{pipeline_id}"))
    }

    /// Somebody outside of CI: each token is its own owner.
    pub fn alone(token: Token) -> Self {
        Self(format!("token:{token}"))
    }

    /// A person who keeps a lock from everyone for a while.
    pub fn reservation(name: &str) -> Self {
        Self(format!("reservation:{name}"))
    }

    /// An owner as a document has it.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether several tokens of this owner are members of one hold.
    pub fn has_members(&self) -> bool {
        self.0.starts_with(PIPELINE)
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The fencing number of a grant: it only grows, per lock, for ever.
    Fence
}
number! {
    /// The revision of a document: every write raises it, and a swap is conditioned on it.
    Rev
}
number! {
    /// The count of a live hold's renewals. A waiter that sees it stand still for a lease may evict.
    Beat
}
number! {
    /// The order in which waiters came.
    Ticket
}
number! {
    /// Milliseconds since 1970 on some wall clock: shown to people, and compared only within one clock.
    EpochMs
}

impl EpochMs {
    /// This time and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A moment on this host's own clock, counted from its boot and through suspends (`CLOCK_BOOTTIME`).
/// Moments of two hosts are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long it is from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
