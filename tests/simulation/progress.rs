//! Nothing is stuck: where somebody alive waits and nobody alive holds, the lock goes on in time.

use pipeline_lock::lock::Token;

use crate::{Real, Verdict};

/// Nothing goes wrong at all: the head looks after 2 s (and 15 % more) at the latest, by a clock that may be slow.
const CALM: Real = 2_700;

/// Who has become the head a moment ago looks as one who stood behind: after 10 s at the latest.
const NEW_HEAD: Real = 12_300;

/// The last beat is seen one look after it was there (11.5 s; 23 s when the waiter was throttled), the holder is
/// evicted (lease x 1.05 + 1 s), the claim window runs out (15 s), and the one whose turn it is looks (11.5 s);
/// all of it by slow clocks.
const LONGEST: Real = (23_000 + 32_500 + 15_000 + 23_000) * 100 / 95 + 1_000;

/// Each place behind the head takes two seconds more: one for the eviction, one for passing over.
const A_PLACE: Real = 2_200;

#[derive(Default)]
pub struct Progress {
    idle_since: Option<Real>,
    excused: Real,
    head: Option<(Token, Real)>,
    pub longest: Real,
}

/// How a lock stands.
pub struct Standing {
    /// Somebody alive has it, or it is kept for somebody.
    pub is_held: bool,
    /// The first one of those alive who wait.
    pub head: Option<Token>,
    /// How many wait, dead or alive.
    pub places: Real,
    /// Nothing goes wrong at all.
    pub is_calm: bool,
}

impl Progress {
    /// The longest that it may take.
    pub fn longest(places: Real) -> Real {
        LONGEST + A_PLACE * places
    }

    /// Takes note of how things stand at `now`.
    pub fn check(&mut self, standing: &Standing, now: Real) -> Verdict {
        let head = standing.head.map(|head| (head, now));
        let head_since = match (self.head, head) {
            (Some((old, since)), Some((new, _))) if old == new => since,
            _ => {
                self.head = head;
                now
            }
        };
        if standing.is_held || head.is_none() {
            self.idle_since = None;
            return Ok(());
        }
        let since = self.idle_since.get_or_insert(now);
        *since = (*since).max(self.excused);
        let idle = now.saturating_sub(*since);
        self.longest = self.longest.max(idle);
        let longest = match standing.is_calm {
            true if now - head_since > NEW_HEAD => CALM,
            true => NEW_HEAD,
            false => Self::longest(standing.places),
        };
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
