use super::{super::Reserving, *};

/// A reservation by the person of this number, until this time of the store's clock.
fn by(n: u128, until: Option<EpochMs>) -> Request {
    Request::new(Owner::reservation(&format!("person{n}")), token(n), Term::Static { until })
}

fn reserved(state: &LockState) -> Option<(Token, &str)> {
    state.reservation().map(|h| (h.token, h.reserved.as_deref().unwrap()))
}

#[test]
fn it_stands_at_once_and_keeps_everyone_else_out() {
    let mut state = lock(&[&job(1), &job(2)]);
    assert_eq!(state.reserve(&by(9, None), "new disks"), Reserving::Reserved);
    state.seal(START);
    assert_eq!(reserved(&state), Some((token(9), "new disks")));
    assert_eq!(holders(&state), [token(1), token(9)], "who holds goes on");
    state.release(token(1));
    assert_eq!(state.request(&job(2), true), Outcome::Queued);
    assert_eq!(state.request(&job(3), false), Outcome::Busy);
    assert!(!state.is_free() && state.ready().is_empty() && !state.pass_over(&job(2)));
    assert!(state.release(token(9)));
    assert_eq!(state.request(&job(2), true), Outcome::Granted);
}

#[test]
fn it_ends_with_its_time() {
    let mut state = LockState::new(START);
    state.reserve(&by(9, Some(EpochMs(START.0 + 1000))), "new disks");
    let at_store = |ms: u64| Sight { store_now: EpochMs(START.0 + ms), ..sight(at(0)) };
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    assert_eq!(written(step(&state, &job(1), &watch, at_store(3000))).1, Outcome::Queued);
    assert_eq!(written(step(&state, &job(1), &watch, at_store(3001))).1, Outcome::Granted);
}

#[test]
fn the_members_and_the_retries_of_those_who_hold_go_on() {
    let mut state = lock(&[&member(7, 1)]);
    state.reserve(&by(9, None), "new disks");
    assert_eq!(ask(&mut state, &member(7, 2)), Outcome::Granted);
    assert_eq!(ask(&mut state, &retry(&member(7, 1), 10)), Outcome::Granted);
    let mut state = lock(&[&job(1)]);
    state.reserve(&by(9, None), "new disks");
    assert_eq!(ask(&mut state, &retry(&job(1), 10)), Outcome::Granted);
}

#[test]
fn it_takes_no_slot_and_no_limit_counts_it() {
    let mut state = lock(&[&counted(1, 2)]);
    state.reserve(&by(9, None), "new disks");
    assert_eq!(ask(&mut state, &Request { limit: Limit(1), ..retry(&counted(1, 2), 10) }), Outcome::Granted);
    assert_eq!(state.holder(token(10)).unwrap().slot, 0);
}

#[test]
fn a_second_one_replaces_the_first_and_says_so() {
    let mut state = LockState::new(START);
    state.reserve(&by(8, None), "new disks");
    let first = state.reservation().cloned().unwrap();
    assert_eq!(state.reserve(&by(9, None), "new racks"), Reserving::Replaced(Box::new(first)));
    assert_eq!((reserved(&state), state.holders.len()), (Some((token(9), "new racks")), 1));
    let before = state.clone();
    assert_eq!(state.reserve(&by(9, None), "new racks"), Reserving::Reserved, "a reply was lost");
    assert_eq!(state, before);
    assert!(!state.release(token(8)), "the first one's release ends nothing");
}

#[test]
fn force_does_not_take_it() {
    let mut state = lock(&[&Request { term: Term::Static { until: None }, ..job(1) }]);
    state.reserve(&by(9, None), "new disks");
    let force = Request { force_after: Some(Duration::ZERO), ..job(2) };
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    let (next, outcome) = written(step(&state, &force, &watch, sight(at(0))));
    assert_eq!((outcome, holders(&next)), (Outcome::Queued, vec![token(9)]));
    assert!(!state.revoke(token(9), "ada"));
}

#[test]
fn a_long_reason_is_cut_and_a_newer_programs_document_left_alone() {
    let mut state = LockState::new(START);
    state.reserve(&by(9, None), &"ü".repeat(500));
    assert_eq!(reserved(&state).unwrap().1.len(), 200);
    let mut newer = LockState { format: 2, ..LockState::new(START) };
    assert_eq!(newer.reserve(&by(9, None), "new disks"), Reserving::Newer);
    assert!(newer.holders.is_empty());
}
