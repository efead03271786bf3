//! What a lock's history says of a hold that has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EpochMs, Fence, Holder, LockState, Mode, Owner, Who};

/// How many endings a lock's history keeps. The one of a hold is written to place
/// [`Ending::place`], over the one that has been there: so one blind write is all, and the history never grows.
pub const HISTORY_LENGTH: u64 = 64;

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Its holder gave it back.
    Released,
    /// Its holder could not prove any more that it held, and stopped its work.
    Lost,
    /// Its holder was dead or silent, and somebody else removed it.
    Evicted,
    /// Somebody took it by force.
    Forced,
    /// Its time was over.
    Expired,
    /// Somebody asked for its end, and its holder gave it back.
    Revoked,
}

impl How {
    const ALL: [Self; 6] =
        [Self::Released, Self::Lost, Self::Evicted, Self::Forced, Self::Expired, Self::Revoked];

    /// The word for it, in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Lost => "lost",
            Self::Evicted => "evicted",
            Self::Forced => "forced",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// What a word of a record says.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|how| how.as_str() == word)
    }
}

/// A hold that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Who it was, for people.
    pub who: Who,
    /// Whose it was.
    pub owner: Owner,
    /// Its fencing number.
    pub fence: Fence,
    /// How it got on with others.
    pub mode: Mode,
    /// Which one of the lock's places it had.
    pub slot: u32,
    /// How long its holder had waited for it; zero where that is not known.
    pub waited: Duration,
    /// When it was granted, by the holder's wall clock.
    pub since: EpochMs,
    /// How long it lasted.
    pub held: Duration,
    /// How it ended.
    pub how: How,
}

impl Ending {
    /// The end of `holder`, which `state` has (or had, before it was removed).
    pub fn of(state: &LockState, holder: &Holder, waited: Duration, held: Duration, how: How) -> Self {
        Self {
            who: holder.who.clone(),
            owner: holder.owner.clone(),
            fence: state.fence_of(holder),
            mode: holder.mode,
            slot: holder.slot,
            waited,
            since: holder.since,
            held,
            how,
        }
    }

    /// The place in the lock's history that a hold with this fencing number has; below [`HISTORY_LENGTH`].
    pub const fn place(fence: Fence) -> u64 {
        fence.0 % HISTORY_LENGTH
    }
}
