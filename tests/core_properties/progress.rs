//! Nothing is stuck: where somebody alive waits and nobody alive holds, the lock goes on in time.

use crate::{Real, Verdict};

/// The longest that it may take, in true time (clocks that run fast only shorten it): the last beat is seen
/// one look after it was there (10 s), the holder is evicted (lease x 1.05 + 1 s, and 1 s a place), the claim
/// window runs out (15 s, and 1 s a place), and the one whose turn it is looks (10 s). Places: up to 12.
const LONGEST: Real = 10_000 + 22_000 + 12_000 + 15_000 + 12_000 + 10_000;

#[derive(Default)]
pub struct Progress {
    idle_since: Option<Real>,
    pub longest: Real,
}

impl Progress {
    /// Takes note of how things stand at `now`.
    pub fn check(&mut self, somebody_holds: bool, somebody_waits: bool, now: Real) -> Verdict {
        if somebody_holds || !somebody_waits {
            self.idle_since = None;
            return Ok(());
        }
        let idle = now - *self.idle_since.get_or_insert(now);
        self.longest = self.longest.max(idle);
        if idle > LONGEST {
            Err(format!("nobody has held the lock for {idle} ms, and somebody waits"))
        } else {
            Ok(())
        }
    }

    /// The network did something, or a dead one's write arrived: the time counts from here.
    pub fn excuse(&mut self, now: Real) {
        if self.idle_since.is_some() {
            self.idle_since = Some(now);
        }
    }
}
