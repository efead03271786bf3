//! Nothing is stuck: where somebody alive waits and nobody alive holds, the lock goes on in time.

use crate::{Real, Verdict};

/// Nothing goes wrong at all: the head looks after 2 s (and 15 % more) at the latest, by a clock that may be slow.
const CALM: Real = 2_700;

/// The last beat is seen one look after it was there (11.5 s; 23 s when the waiter was throttled), the holder is
/// evicted (lease x 1.05 + 1 s), the claim window runs out (15 s), and the one whose turn it is looks (11.5 s);
/// all of it by slow clocks.
const LONGEST: Real = (23_000 + 22_000 + 15_000 + 23_000) * 100 / 95 + 1_000;

/// Each place behind the head takes two seconds more: one for the eviction, one for passing over.
const A_PLACE: Real = 2_200;

#[derive(Default)]
pub struct Progress {
    idle_since: Option<Real>,
    excused: Real,
    pub longest: Real,
}

impl Progress {
    /// The longest that it may take.
    pub fn longest(is_calm: bool, places: Real) -> Real {
        if is_calm { CALM } else { LONGEST + A_PLACE * places }
    }

    /// Takes note of how things stand at `now`.
    pub fn check(&mut self, holds: bool, waits: bool, now: Real, longest: Real) -> Verdict {
        if holds || !waits {
            self.idle_since = None;
            return Ok(());
        }
        let since = self.idle_since.get_or_insert(now);
        *since = (*since).max(self.excused);
        let idle = now.saturating_sub(*since);
        self.longest = self.longest.max(idle);
        if idle > longest {
            return Err(format!("nobody has held it for {idle} ms, and somebody waits"));
        }
        Ok(())
    }

    /// Something went wrong: the time counts from here at the earliest.
    pub fn excuse(&mut self, from: Real) {
        self.excused = self.excused.max(from);
    }
}
