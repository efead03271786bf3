use super::*;

fn urgent(n: u64, priority: i32) -> Request {
    Request { priority, ..job(n) }
}

fn newest(n: u64) -> Request {
    Request { order: Order::Newest, ..job(n) }
}

/// How often each waiter was overtaken, in order.
fn overtaken(state: &LockState) -> Vec<u32> {
    state.in_order().iter().map(|w| w.overtaken).collect()
}

#[test]
fn a_difference_of_d_lets_d_later_ones_go_first() {
    let mut state = lock(&[&job(1), &job(2)]);
    let mut went_first = 0;
    for n in 3..20 {
        ask(&mut state, &urgent(n, 3));
        state.release(holders(&state)[0]);
        if ask(&mut state, &job(2)) == Outcome::Granted {
            break;
        }
        assert_eq!(ask(&mut state, &urgent(n, 3)), Outcome::Granted);
        went_first += 1;
    }
    assert_eq!((went_first, holders(&state)), (3, vec![token(2)]));
}

#[test]
fn one_that_comes_and_is_granted_at_once_ages_those_who_wait() {
    let mut state = lock(&[&job(1), &job(2), &urgent(3, 1), &job(4)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &urgent(5, 2)), Outcome::Granted);
    assert_eq!((waiters(&state), overtaken(&state)), (vec![token(3), token(2), token(4)], vec![1, 1, 1]));
}

#[test]
fn an_earlier_one_and_an_equal_one_age_nobody() {
    let mut state = lock(&[&job(1), &urgent(2, 1), &job(3), &job(4)]);
    for n in [2, 3] {
        state.release(token(n - 1));
        assert_eq!(ask(&mut state, &urgent(n as u64, i32::from(n == 2))), Outcome::Granted);
        assert!(overtaken(&state).iter().all(|n| *n == 0));
    }
}

#[test]
fn who_is_passed_over_for_not_claiming_does_not_age() {
    let mut state = lock(&[&job(1), &job(2), &job(3), &urgent(4, -1)]);
    state.release(token(1));
    assert!(state.pass_over(&job(3)));
    assert_eq!(overtaken(&state), [0, 0]);
}

#[test]
fn a_pipelines_next_member_ages_nobody() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    assert_eq!(ask(&mut state, &Request { priority: 9, ..member(7, 3) }), Outcome::Granted);
    assert_eq!(overtaken(&state), [0]);
}

#[test]
fn a_retry_keeps_what_its_place_has_come_to() {
    let mut state = lock(&[&job(1), &job(2)]);
    state.release(token(1));
    ask(&mut state, &urgent(3, 1));
    ask(&mut state, &retry(&job(2), 20));
    assert_eq!(overtaken(&state), [1]);
}

#[test]
fn a_priority_out_of_range_counts_as_the_nearest_in_it() {
    let state =
        lock(&[&job(1), &urgent(2, i32::MAX), &urgent(3, 100), &urgent(4, i32::MIN), &urgent(5, -100)]);
    assert_eq!(waiters(&state), [token(2), token(3), token(4), token(5)]);
}

#[test]
fn the_newest_goes_first_among_those_of_its_priority() {
    let state = lock(&[&job(1), &newest(2), &job(3), &urgent(4, 1), &newest(5), &job(6)]);
    assert_eq!(waiters(&state), [token(4), token(5), token(2), token(3), token(6)]);
}

#[test]
fn a_newest_one_takes_a_free_lock_over_the_heads_of_its_equals_and_ages_nobody() {
    let mut state = lock(&[&job(1), &job(2), &newest(3)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &newest(4)), Outcome::Granted);
    assert_eq!((waiters(&state), overtaken(&state)), (vec![token(3), token(2)], vec![0, 0]));
    state.release(token(4));
    assert_eq!(ask(&mut state, &Request { priority: -1, ..newest(5) }), Outcome::Queued);
}
