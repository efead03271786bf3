use super::*;

/// The misses of the waiters, in order.
fn missed(state: &LockState) -> Vec<u32> {
    state.in_order().iter().map(|w| w.missed).collect()
}

fn awaited(requests: &[&Request]) -> LockState {
    let mut state = lock(requests);
    let first = requests[0].token;
    state.release(first);
    state.seal(START);
    state
}

#[test]
fn who_is_passed_over_twice_is_out() {
    let mut state = awaited(&[&job(1), &job(2), &job(3), &job(4), &job(5)]);
    assert!(state.pass_over(&job(4)));
    assert_eq!((holders(&state), waiters(&state)), (vec![token(4)], vec![token(2), token(3), token(5)]));
    assert_eq!(missed(&state), [1, 1, 0]);
    state.release(token(4));
    assert!(state.pass_over(&job(5)));
    assert_eq!((holders(&state), waiters(&state)), (vec![token(5)], vec![]));
}

#[test]
fn who_answers_in_between_stays() {
    let mut state = awaited(&[&job(1), &job(2), &job(3), &job(4), &job(5)]);
    state.pass_over(&job(4));
    state.answer(token(3));
    state.release(token(4));
    state.pass_over(&job(5));
    assert_eq!(waiters(&state), [token(3)]);
}

/// A shared hold; behind it a shared waiter that could claim, an exclusive one that can't, a shared one.
fn mixed() -> LockState {
    let mut state = lock(&[&job(1), &shared(2), &shared(3), &job(4), &shared(5)]);
    state.release(token(1));
    ask(&mut state, &shared(2));
    assert_eq!(waiters(&state), [token(3), token(4), token(5)]);
    state
}

#[test]
fn nobody_passes_over_a_waiter_that_could_not_have_claimed() {
    let mut state = mixed();
    assert!(!state.pass_over(&shared(5)));
    assert_eq!(state, mixed());
}

#[test]
fn who_could_not_be_granted_the_lock_passes_over_nobody() {
    let mut state = mixed();
    assert!(!state.pass_over(&job(4)));
    assert_eq!(state, mixed());
}

#[test]
fn a_waiter_that_could_not_have_claimed_lets_no_window_run_out() {
    let mut watch = Watch::default();
    watch.observe(&mixed(), at(0));
    assert!(!watch.may_pass_over(2, at(999)));
    assert!(!watch.may_pass_over(3, at(999)));
}

#[test]
fn the_head_and_strangers_pass_over_nobody() {
    let mut state = lock(&[&job(1), &job(2)]);
    let before = state.clone();
    assert!(!state.pass_over(&job(2)), "the lock is held");
    assert!(!state.pass_over(&job(3)), "it is not in the queue");
    assert_eq!(state, before);
}

#[test]
fn a_waiter_may_pass_a_silent_head_after_the_claim_window_and_one_second_a_place() {
    let state = awaited(&[&job(1), &job(2), &job(3), &job(4)]);
    let mut watch = Watch::default();
    watch.observe(&state, at(100));
    watch.observe(&state, at(110));
    assert!(!watch.may_pass_over(1, at(999)), "the head claims, it passes over nobody");
    assert!(!watch.may_pass_over(2, at(115)));
    assert!(watch.may_pass_over(2, at(116)));
    assert!(!watch.may_pass_over(3, at(116)));
    assert!(watch.may_pass_over(3, at(117)));
    assert!(!watch.may_pass_over(5, at(999)), "nobody has place 5");
}

#[test]
fn the_window_begins_anew_for_a_new_head_and_while_the_lock_is_held() {
    let free = awaited(&[&job(1), &job(2), &job(3)]);
    let mut watch = Watch::default();
    watch.observe(&free, at(0));
    watch.observe(&lock(&[&job(1), &job(2), &job(3)]), at(10));
    watch.observe(&free, at(20));
    assert!(!watch.may_pass_over(2, at(35)));
    watch.observe(&awaited(&[&job(1), &job(9), &job(3)]), at(35));
    assert!(!watch.may_pass_over(2, at(50)));
    assert!(watch.may_pass_over(2, at(51)));
}

#[test]
fn the_second_has_its_own_window_when_the_first_has_claimed_and_gone_unseen() {
    let mut watch = Watch::default();
    let mut state = awaited(&[&job(1), &job(2), &job(3), &job(4)]);
    watch.observe(&state, at(0));
    state.release(token(2));
    watch.observe(&state, at(10));
    assert!(!watch.may_pass_over(2, at(25)));
    assert!(watch.may_pass_over(2, at(26)));
}

#[test]
fn a_hold_that_was_never_seen_begins_the_windows_anew() {
    let mut watch = Watch::default();
    let mut state = awaited(&[&job(1), &job(2), &job(3)]);
    watch.observe(&state, at(0));
    assert_eq!(ask(&mut state, &Request { priority: 1, ..job(9) }), Outcome::Granted);
    state.release(token(9));
    watch.observe(&state, at(10));
    assert!(!watch.may_pass_over(2, at(25)), "the head could not claim all the time");
    assert!(watch.may_pass_over(2, at(26)));
}

#[test]
fn a_stale_view_of_a_free_lock_begins_no_window() {
    let mut watch = Watch::default();
    let free = awaited(&[&job(1), &job(2), &job(3), &job(4)]);
    let mut held = free.clone();
    held.pass_over(&job(3));
    held.answer(token(2));
    held.seal(START);
    let mut free_again = held.clone();
    free_again.release(token(3));
    free_again.seal(START);
    watch.observe(&held, at(0));
    watch.observe(&free, at(1));
    watch.observe(&free_again, at(30));
    assert!(!watch.may_pass_over(2, at(45)), "the head could claim only now");
    assert!(watch.may_pass_over(2, at(46)));
}

#[test]
fn who_was_passed_over_has_a_second_window_though_the_lock_stays_open_to_it() {
    let mut state = lock(&[&job(1), &shared(2), &shared(3), &shared(4)]);
    state.release(token(1));
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    assert!(watch.may_pass_over(3, at(17)));
    assert!(state.pass_over(&shared(3)));
    watch.observe(&state, at(17));
    assert!(!watch.may_pass_over(2, at(32)), "its second window is not over");
    assert!(watch.may_pass_over(2, at(33)));
}
