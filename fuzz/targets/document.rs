//! The stored document: whatever is in the table, it is read and written back unchanged or refused, and no step on it
//! panics or makes it worse.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pipeline_lock::lock::{
    Beat, EpochMs, LockState, Map, Mode, Moment, Owner, Plan, Request, Sight, Term, Token, Watch, codec, plan,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);
const WALL: EpochMs = EpochMs(1_790_000_000_000);

fuzz_target!(|bytes: &[u8]| {
    let Ok(map) = serde_json::from_slice::<Map>(bytes) else { return };
    drop(codec::decode_ending(map.clone()));
    let state = match codec::decode(map) {
        Ok(state) => state,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "one line: {error:?}");
            return;
        }
    };
    comes_back(&state);
    for token in tokens(&state) {
        own_steps(&state, token);
    }
    for mode in [Mode::Exclusive, Mode::Shared] {
        waits(&state, mode);
    }
});

fn comes_back(state: &LockState) {
    let again = codec::decode(codec::encode(state)).expect("what was read can be read again");
    assert_eq!(codec::encode(&again), codec::encode(state));
    if !state.is_newer() {
        assert_eq!(again, *state);
    }
}

fn tokens(state: &LockState) -> Vec<Token> {
    state.holders.iter().map(|h| h.token).chain(state.queue.iter().map(|w| w.token)).collect()
}

/// What a holder or a waiter does with its own entry.
fn own_steps(state: &LockState, token: Token) {
    let mut released = state.clone();
    released.release(token);
    assert!(released.holder(token).is_none() && released.waiter(token).is_none(), "{token} is gone");
    released.seal(WALL);
    comes_back(&released);
    let mut renewed = state.clone();
    if renewed.renew(token, Beat(1)) {
        assert!(renewed.rev > state.rev, "a renewal shows");
    }
    comes_back(&renewed);
    let mut parted = state.clone();
    parted.part(token, Some((WALL, LEASE)));
    let mut revoked = state.clone();
    revoked.revoke(token, "somebody");
}

/// A waiter's steps until it has the lock or may do no more, over more time than any lease that it may believe in.
fn waits(state: &LockState, mode: Mode) {
    let token = Token::new(Uuid::from_u128(7));
    let owner = Owner::job("gitlab.example", 7);
    let term = Term::Live { beat: Beat(0), lease: Some(LEASE) };
    let mut request = Request { mode, since: WALL, ..Request::new(owner, token, term) };
    request.force_after = Some(Duration::from_secs(3600));
    let (mut current, mut watch, mut now) = (state.clone(), Watch::default(), Moment(LEASE));
    let mut was_queued = false;
    for _ in 0..12 {
        watch.observe(&current, now);
        was_queued |= current.waiter(token).is_some();
        let gone: Vec<Token> = tokens(&current).into_iter().take(1).collect();
        let sight = Sight { now, store_now: WALL, gone: &gone, may_queue: true, was_queued };
        match plan(&current, &request, &watch, sight, WALL) {
            Plan::Write { next, .. } => {
                assert!(!current.is_newer(), "a newer document is not touched");
                assert!(next.rev > current.rev && next.fence >= current.fence, "numbers only grow");
                assert!(next.extra == current.extra, "what is unknown stays");
                comes_back(&next);
                current = *next;
            }
            Plan::Wait(time) => now = now.plus(time.max(Duration::from_millis(1))),
            _ => return,
        }
    }
}
