//! A lock as programs get it.

use serde::Serialize;

use crate::{
    client::Held,
    lock::{EpochMs, LockName, LockState, Mode, Order, Who},
};

/// One lock.
#[derive(Debug, Serialize)]
pub struct LockStatus {
    /// Its name.
    pub name: String,
    /// The last fencing number that was given out; 0: the lock was never held.
    pub fence: u64,
    /// Who holds it; a reservation is among them.
    pub holders: Vec<Held>,
    /// Who waits, in the order in which they are served.
    pub queue: Vec<Waits>,
}

/// A waiter. What has its usual value is left out.
#[derive(Debug, Serialize)]
pub struct Waits {
    /// Its place; the head has 1.
    pub place: usize,
    /// Whose it is.
    pub owner: String,
    /// Its incarnation.
    pub token: String,
    /// Since when, by the waiter's wall clock.
    pub since: EpochMs,
    /// How the hold is to get on with others.
    #[serde(skip_serializing_if = "is_usual")]
    pub mode: Mode,
    /// What it asked for.
    #[serde(skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// How many later ones went first by their priority.
    #[serde(skip_serializing_if = "is_usual")]
    pub overtaken: u32,
    /// Where it stands among those of its priority.
    #[serde(skip_serializing_if = "is_usual")]
    pub order: Order,
    /// Who it is.
    pub who: Who,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl LockStatus {
    /// How `state` stands.
    pub fn of(name: &LockName, state: Option<&LockState>) -> Self {
        let Some(state) = state else {
            return Self { name: name.to_string(), fence: 0, holders: Vec::new(), queue: Vec::new() };
        };
        let waits = state.in_order().into_iter().enumerate().map(|(i, w)| Waits {
            place: i + 1,
            owner: w.owner.to_string(),
            token: w.token.to_string(),
            since: w.since,
            mode: w.mode,
            priority: w.priority,
            overtaken: w.overtaken,
            order: w.order,
            who: w.who.clone(),
        });
        Self {
            name: name.to_string(),
            fence: state.fence.0,
            holders: Held::all(state),
            queue: waits.collect(),
        }
    }

    /// In a word: `free`, `waited for` (it is free, and the first in the queue has not claimed it), `held`,
    /// `shared`, `kept` (for a pipeline, between two of its jobs), `reserved`.
    pub fn word(&self) -> &'static str {
        let holds: Vec<&Held> = self.holders.iter().filter(|h| h.reserved.is_none()).collect();
        match holds.as_slice() {
            [] if !self.holders.is_empty() => "reserved",
            [] if self.queue.is_empty() => "free",
            [] => "waited for",
            holds if holds.iter().all(|h| h.between) => "kept",
            holds if holds.iter().all(|h| h.mode == Mode::Shared) => "shared",
            _ => "held",
        }
    }
}
