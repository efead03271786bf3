//! How fast a waiter asks a store that has no capacity to spare: renewals and releases of others go before its
//! curiosity.

use std::time::Duration;

use crate::store::StoreError;

/// Each throttled request doubles the time between two looks, so often at most.
const MOST_DOUBLINGS: u32 = 5;

/// So many answers in a row make the looks twice as frequent again.
const CALM: u32 = 4;

/// No throttled waiter looks less often than this, in its own time or slowed.
const SLOWEST: Duration = Duration::from_secs(20);

/// The pace of one waiter.
#[derive(Debug, Default)]
pub(super) struct Pace {
    doublings: u32,
    calm: u32,
}

impl Pace {
    /// Takes in what came of a request.
    pub(super) fn answered<T>(&mut self, result: &Result<T, StoreError>) {
        match result {
            Err(StoreError::Throttled(_)) => {
                self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
                self.calm = 0;
            }
            Err(_) => {}
            Ok(_) => {
                self.calm += 1;
                if self.calm >= CALM {
                    self.doublings = self.doublings.saturating_sub(1);
                    self.calm = 0;
                }
            }
        }
    }

    /// The time until the next look, of one that would come after `look` otherwise.
    pub(super) fn slowed(&self, look: Duration) -> Duration {
        look.saturating_mul(1 << self.doublings).min(SLOWEST.max(look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(500);

    #[test]
    fn each_throttled_request_doubles_the_interval_and_calm_halves_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.slowed(LOOK), LOOK);
        let throttled: Result<(), _> = Err(StoreError::Throttled(String::new()));
        pace.answered(&throttled);
        pace.answered(&throttled);
        assert_eq!(pace.slowed(LOOK), 4 * LOOK);
        (0..CALM).for_each(|_| pace.answered(&Ok(())));
        assert_eq!(pace.slowed(LOOK), 2 * LOOK);
        (0..CALM).for_each(|_| pace.answered(&Ok(())));
        assert_eq!(pace.slowed(LOOK), LOOK);
    }

    #[test]
    fn the_slowest_pace_is_bounded() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.answered(&Err::<(), _>(StoreError::Throttled(String::new()))));
        assert_eq!(pace.slowed(Duration::from_secs(10)), SLOWEST);
        assert_eq!(
            pace.slowed(Duration::from_secs(30)),
            Duration::from_secs(30),
            "what is later anyway stays"
        );
    }
}
