//! How often the bell of a lock is rung, and for whom: each release moves the queue on by one, so who is at place k
//! looks after k rings.

use crate::lock::{LockState, Request};

/// After how many rings the one at `place` looks. In front of a free lock the head is about to claim, which rings
/// nobody: the next one's turn comes with the release after that.
pub(super) fn until_turn(state: &LockState, place: usize) -> u64 {
    let ahead = if state.head_is_ready() { place.saturating_sub(1) } else { place };
    ahead.max(1) as u64
}

/// How often to ring after a swap for `request`: once when a hold was removed or asked to end, and else so often
/// that those look whom it concerns. These are the waiters that it put out of the queue (a newer pipeline came), and
/// those that may join the hold which their pipeline has got.
pub(super) fn of_swap(before: &LockState, after: &LockState, request: &Request) -> usize {
    let is_granted = after.holder(request.token).is_some() && before.holder(request.token).is_none();
    let out = before
        .queue
        .iter()
        .filter(|w| w.token != request.token && after.waiter(w.token).is_none())
        .filter_map(|w| before.place(w.token));
    let mates = after
        .queue
        .iter()
        .filter(|w| is_granted && w.owner == request.owner)
        .filter_map(|w| after.place(w.token));
    let first = usize::from(removes(before, after) || asks_for_an_end(before, after));
    out.chain(mates).max().unwrap_or(0).max(first)
}

fn removes(before: &LockState, after: &LockState) -> bool {
    before.holders.iter().any(|h| after.holder(h.token).is_none())
}

/// On one host a holder listens for the bell.
fn asks_for_an_end(before: &LockState, after: &LockState) -> bool {
    let asked = |state: &LockState| state.holders.iter().filter(|h| h.revoked.is_some()).count();
    asked(after) > asked(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Beat, EpochMs, Owner, Term, Token};

    fn token(n: u128) -> Token {
        Token::new(uuid::Uuid::from_u128(n))
    }

    fn request(n: u128) -> Request {
        Request::new(Owner::alone(token(n)), token(n), Term::Live { beat: Beat(0), lease: None })
    }

    fn of_pipeline(n: u128) -> Request {
        Request { owner: Owner::pipeline("gitlab.example", 3, 7), ..request(n) }
    }

    fn asked_by(requests: &[Request]) -> LockState {
        let mut state = LockState::new(EpochMs(0));
        for request in requests {
            state.request(request, true);
        }
        state
    }

    #[test]
    fn one_looks_at_the_ring_that_ends_the_hold_before_ones_own() {
        let mut state = asked_by(&[request(1), request(2), request(3)]);
        assert_eq!([1, 2].map(|place| until_turn(&state, place)), [1, 2]);
        state.release(token(1));
        assert_eq!(state.place(token(3)), Some(2));
        assert_eq!(until_turn(&state, 2), 1, "the head claims without a ring");
    }

    #[test]
    fn a_grant_rings_for_the_last_of_the_pipeline_that_waits() {
        let before = {
            let mut state = asked_by(&[
                request(1),
                of_pipeline(2),
                of_pipeline(3),
                request(4),
                of_pipeline(5),
                request(6),
            ]);
            state.release(token(1));
            state
        };
        let mut after = before.clone();
        after.request(&of_pipeline(2), true);
        assert_eq!(after.place(token(5)), Some(3));
        assert_eq!(of_swap(&before, &after, &of_pipeline(2)), 3);
    }

    #[test]
    fn nobody_is_rung_for_without_a_cause() {
        let before = asked_by(&[request(1)]);
        let mut after = before.clone();
        after.request(&request(2), true);
        assert_eq!(of_swap(&before, &after, &request(2)), 0, "queued");
        let mut free = after.clone();
        free.release(token(1));
        let mut granted = free.clone();
        granted.request(&request(2), true);
        assert_eq!(of_swap(&free, &granted, &request(2)), 0, "granted");
    }

    #[test]
    fn a_hold_that_is_removed_or_asked_to_end_rings_once() {
        let held = asked_by(&[request(1), request(2)]);
        let mut removed = held.clone();
        removed.release(token(1));
        removed.request(&request(2), true);
        assert_eq!(of_swap(&held, &removed, &request(2)), 1);
        let mut asked = held.clone();
        asked.holders[0].revoked = Some("ada".into());
        assert_eq!(of_swap(&held, &asked, &request(2)), 1);
    }

    #[test]
    fn who_is_put_out_of_the_queue_is_rung_for() {
        let before = asked_by(&[request(1), request(2), request(3), request(4)]);
        let mut after = before.clone();
        after.queue.retain(|w| w.token != token(3));
        assert_eq!(of_swap(&before, &after, &request(5)), 2);
    }
}
