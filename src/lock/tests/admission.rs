use super::{super::MAX_HOLDERS, *};

#[test]
fn an_exclusive_hold_keeps_everyone_out() {
    assert!(!lock(&[&job(1)]).admits(&job(2)));
    assert!(!lock(&[&job(1)]).admits(&shared(2)));
    assert!(!lock(&[&shared(1)]).admits(&job(2)));
}

#[test]
fn shared_holds_get_on_with_each_other() {
    assert_eq!(holders(&lock(&[&shared(1), &shared(2), &shared(3)])).len(), 3);
}

#[test]
fn the_smallest_limit_among_holders_and_request_decides() {
    let two = lock(&[&counted(1, 5), &counted(2, 2)]);
    assert_eq!(holders(&two).len(), 2);
    assert!(!two.admits(&counted(3, 5)), "a holder admits only one beside itself");
    let generous = lock(&[&counted(1, 5), &counted(2, 5)]);
    assert!(generous.admits(&counted(3, 3)));
    assert!(!generous.admits(&counted(3, 2)), "the request itself admits only one beside it");
}

#[test]
fn a_limit_of_none_counts_as_one() {
    let none = counted(1, 0);
    assert_eq!(ask(&mut LockState::new(START), &none), Outcome::Granted);
    assert!(!lock(&[&none]).admits(&counted(2, 5)));
}

#[test]
fn the_members_of_a_pipeline_count_as_one_hold() {
    let state =
        lock(&[&Request { limit: Limit(2), ..member(7, 1) }, &Request { limit: Limit(2), ..member(7, 2) }]);
    assert_eq!(holders(&state).len(), 2);
    assert!(state.admits(&counted(3, 2)));
}

#[test]
fn a_member_of_the_holding_pipeline_goes_past_the_queue() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    assert_eq!(ask(&mut state, &member(7, 3)), Outcome::Granted);
    assert_eq!(waiters(&state), [token(2)]);
}

#[test]
fn every_member_of_a_pipeline_has_a_say_on_the_mode() {
    let first = Request { mode: Mode::Shared, limit: Limit(5), ..member(7, 1) };
    let second = Request { limit: Limit(5), ..member(7, 2) };
    let mut state = lock(&[&first, &second]);
    assert!(!state.admits(&shared(3)), "the second member holds exclusively");
    assert!(!state.admits(&counted(3, 5)), "the first member holds in shared mode");
    state.release(token(2));
    assert!(state.admits(&shared(3)));
}

#[test]
fn every_member_of_a_pipeline_has_a_say_on_the_limit() {
    let state = lock(&[&Request { limit: Limit(5), ..member(7, 1) }, &member(7, 2)]);
    assert!(!state.admits(&counted(3, 5)));
}

#[test]
fn a_member_that_asks_for_more_than_its_pipeline_has_waits_for_the_others() {
    let mut state = lock(&[&Request { limit: Limit(2), ..member(7, 1) }, &counted(2, 2)]);
    assert_eq!(ask(&mut state, &member(7, 3)), Outcome::Queued);
}

#[test]
fn the_entries_of_holders_are_bounded() {
    let mut state = LockState::new(START);
    for n in 0..MAX_HOLDERS as u64 {
        assert_eq!(ask(&mut state, &shared(n)), Outcome::Granted);
    }
    assert_eq!(ask(&mut state, &shared(1000)), Outcome::Queued);
    state.release(token(5));
    assert_eq!(ask(&mut state, &shared(1000)), Outcome::Granted);
}
