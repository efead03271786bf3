//! What a waiting client tells while it waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::{EpochMs, Holder, LockName, LockState, Mode, Removal, RemovalReason, Term, Token, Who};

/// One piece of news from somebody who asks for a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum Progress {
    /// How things stand: sent at once, on each change, and at least every 15 s.
    Waiting(Waiting),
    /// Somebody's hold was ended so that the lock goes on.
    Removed {
        /// The lock.
        name: String,
        /// Who held it.
        who: Who,
        /// Why it was ended.
        why: Why,
    },
    /// The store does not answer; the wait goes on.
    Trouble {
        /// The lock.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The store answers again.
    Recovered {
        /// The lock.
        name: String,
    },
}

/// Why somebody's hold was ended by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its lease ran out without a renewal.
    LeaseOver,
    /// Its processes on this host were dead.
    Dead,
    /// Its time was over.
    Expired,
    /// It was taken by force.
    Forced,
}

/// Where a waiter stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The lock.
    pub name: String,
    /// The place in the queue; the head has 1.
    pub place: usize,
    /// How many wait in all.
    pub queue: usize,
    /// Who holds the lock.
    pub holders: Vec<Held>,
    /// How long this wait has lasted.
    pub waited: Duration,
}

/// A holder, as a waiter or an operator sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Whose hold it is.
    pub owner: String,
    /// Which incarnation.
    pub token: Token,
    /// Its fencing number.
    pub fence: u64,
    /// How it gets on with others.
    pub mode: Mode,
    /// Which one of the lock's places it has.
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: u32,
    /// Since when, by the store's clock.
    pub since: EpochMs,
    /// When a static hold ends; `None`: it is watched over, or ends by a release only.
    pub until: Option<EpochMs>,
    /// Whether a process watches over it.
    pub live: bool,
    /// Who asked for its end.
    pub revoked: Option<String>,
    /// Why the lock is kept from everyone, if this is a reservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
    /// Whether the hold is kept for its pipeline's next job, and none of them runs now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub between: bool,
    /// Who it is.
    pub who: Who,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(slot: &u32) -> bool {
    *slot == 0
}

impl Held {
    /// A holder of `state`.
    pub fn of(state: &LockState, holder: &Holder) -> Self {
        let (live, until) = match holder.term {
            Term::Live { .. } => (true, None),
            Term::Static { until } => (false, until),
        };
        Self {
            owner: holder.owner.to_string(),
            token: holder.token,
            fence: state.fence_of(holder).0,
            mode: holder.mode,
            slot: holder.slot,
            since: holder.since,
            until,
            live,
            revoked: holder.revoked.clone(),
            reserved: holder.reserved.clone(),
            between: holder.between,
            who: holder.who.clone(),
        }
    }

    /// All holders of `state`.
    pub fn all(state: &LockState) -> Vec<Self> {
        state.holders.iter().map(|h| Self::of(state, h)).collect()
    }
}

impl Progress {
    /// The news that `removal` is.
    pub fn removed(name: &LockName, removal: &Removal) -> Self {
        let why = match removal.why {
            RemovalReason::LeaseOver => Why::LeaseOver,
            RemovalReason::Dead => Why::Dead,
            RemovalReason::Expired => Why::Expired,
            RemovalReason::Forced => Why::Forced,
        };
        Self::Removed { name: name.to_string(), who: removal.holder.who.clone(), why }
    }
}

impl Waiting {
    /// How `state` looks to the waiter `token`.
    pub fn of(name: &LockName, state: &LockState, token: Token, waited: Duration) -> Self {
        Self {
            name: name.to_string(),
            place: state.place(token).unwrap_or(state.queue.len() + 1),
            queue: state.queue.len(),
            holders: Held::all(state),
            waited,
        }
    }

    /// Whether anything but the time has changed since `earlier`.
    pub fn differs_from(&self, earlier: &Self) -> bool {
        Self { waited: earlier.waited, ..self.clone() } != *earlier
    }
}
