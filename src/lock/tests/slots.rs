use super::*;

fn slots(state: &LockState) -> Vec<u32> {
    state.holders.iter().map(|h| h.slot).collect()
}

#[test]
fn each_grant_gets_the_smallest_slot_that_is_free() {
    let mut state = lock(&[&counted(1, 3), &counted(2, 3), &counted(3, 3)]);
    assert_eq!(slots(&state), [0, 1, 2]);
    state.release(token(2));
    ask(&mut state, &counted(4, 3));
    assert_eq!(slots(&state), [0, 2, 1]);
}

#[test]
fn the_holder_of_a_first_write_has_the_first_slot() {
    let mut state = LockState::new(START);
    state.holders.push(super::super::Holder::granted(&shared(1), None));
    ask(&mut state, &shared(2));
    assert_eq!(slots(&state), [0, 1]);
}

#[test]
fn a_smaller_limit_waits_until_a_slot_below_it_is_free() {
    let mut state = lock(&[&counted(1, 5), &counted(2, 5), &counted(3, 5)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &counted(4, 2)), Outcome::Queued, "two others hold");
    state.release(token(2));
    assert_eq!(ask(&mut state, &counted(4, 2)), Outcome::Granted);
    assert_eq!(slots(&state), [2, 0]);
}

#[test]
fn the_members_of_a_pipeline_share_a_slot() {
    let of = |n, limit| Request { limit: Limit(limit), ..member(7, n) };
    let mut state = lock(&[&counted(1, 3), &of(2, 3), &of(3, 3), &counted(4, 3)]);
    assert_eq!(slots(&state), [0, 1, 1, 2]);
    assert_eq!(
        ask(&mut state, &of(5, 1)),
        Outcome::Queued,
        "the limit was lowered, and the slot is above it"
    );
    for n in [1, 4] {
        state.release(token(n));
    }
    assert_eq!(ask(&mut state, &of(5, 1)), Outcome::Queued, "members work in that slot still");
    for n in [2, 3] {
        state.release(token(n));
    }
    assert_eq!(ask(&mut state, &of(5, 1)), Outcome::Granted);
    assert_eq!(slots(&state), [0]);
}

#[test]
fn a_retry_keeps_the_slot_of_its_old_try() {
    let mut state = lock(&[&counted(1, 3), &counted(2, 3), &counted(3, 3)]);
    state.release(token(1));
    ask(&mut state, &retry(&counted(2, 3), 20));
    assert_eq!(slots(&state), [2, 1]);
    ask(&mut state, &Request { limit: Limit(2), ..retry(&counted(3, 3), 30) });
    assert_eq!(slots(&state), [1, 0], "unless it asks for fewer");
}

#[test]
fn who_takes_up_what_its_pipeline_left_standing_gets_a_slot_below_its_own_limit() {
    let of = |n, limit| Request { limit: Limit(limit), ..member(7, n) };
    let mut state = lock(&[&counted(1, 2), &of(2, 2)]);
    state.part(token(2), Some((START, LEASE)));
    state.release(token(1));
    assert_eq!(ask(&mut state, &of(3, 1)), Outcome::Granted);
    assert_eq!(slots(&state), [0]);
}
