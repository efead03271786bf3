//! Many who want to get into one queue at once, or out of it: each write that takes effect fails those of all others.
//! If each tried again at once, n of them would need n²/2 writes, and DynamoDB takes as much for one that fails as for
//! one that does not.

use std::time::Duration;

use crate::lock::LockState;

/// What a pause is at most after the second write in a row that failed: twice as much after each one more.
const FIRST: Duration = Duration::from_millis(20);

/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(1);

/// The writes of one request that failed in a row, as others were quicker.
#[derive(Debug, Default)]
pub(super) struct Crush {
    lost: u32,
}

impl Crush {
    /// Takes in that another write was quicker than the one from `before` to `next`. The result is how long to let others
    /// go first; none at the first time, and none for who takes the lock or gives it back, as others wait for that.
    pub(super) fn lost(&mut self, before: &LockState, next: &LockState) -> Option<Duration> {
        if before.holders != next.holders {
            return None;
        }
        self.lost += 1;
        let doublings = self.lost.checked_sub(2)?;
        let most = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        Some(most.mul_f64(fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Beat, EpochMs, Owner, Request, Term, Token};

    fn request(n: u128) -> Request {
        let token = Token::new(uuid::Uuid::from_u128(n));
        Request::new(Owner::alone(token), token, Term::Live { beat: Beat(0), lease: None })
    }

    #[test]
    fn who_gets_into_the_queue_lets_others_go_first_and_longer_each_time() {
        let mut held = LockState::new(EpochMs(0));
        held.request(&request(1), true);
        let mut queued = held.clone();
        queued.request(&request(2), true);
        let mut crush = Crush::default();
        assert_eq!(crush.lost(&held, &queued), None, "two that meet are no crush");
        for most in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            let pause = crush.lost(&held, &queued).unwrap();
            assert!(pause <= Duration::from_millis(most), "{pause:?} of {most} ms");
        }
        for _ in 0..100 {
            crush.lost(&held, &queued);
        }
        assert!(crush.lost(&held, &queued).unwrap() <= LONGEST);
    }

    #[test]
    fn who_takes_the_lock_or_gives_it_back_never_pauses() {
        let free = LockState::new(EpochMs(0));
        let mut held = free.clone();
        held.request(&request(1), true);
        let mut crush = Crush::default();
        for _ in 0..5 {
            assert_eq!((crush.lost(&free, &held), crush.lost(&held, &free)), (None, None));
        }
    }
}
