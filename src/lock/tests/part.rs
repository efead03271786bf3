use super::*;

const SPAN: Duration = Duration::from_secs(60);

/// What a member of pipeline 7 leaves when it goes at [`START`].
fn parted(state: &mut LockState, n: u128) -> bool {
    state.part(token(n), Some((START, SPAN)))
}

fn between(state: &LockState) -> Vec<Token> {
    state.holders.iter().filter(|h| h.between).map(|h| h.token).collect()
}

#[test]
fn the_last_member_leaves_the_hold_standing_for_its_pipeline() {
    let mut state = lock(&[&member(7, 1), &member(7, 2), &job(3)]);
    let fence = state.fence_of(&state.holders[1]);
    assert!(parted(&mut state, 1));
    assert_eq!((holders(&state), between(&state)), (vec![token(2)], vec![]), "another member works on");
    assert!(parted(&mut state, 2));
    assert_eq!(between(&state), [token(2)]);
    assert_eq!(state.holders[0].term, Term::Static { until: Some(START.plus(SPAN)) });
    assert_eq!(state.fence_of(&state.holders[0]), fence);
    assert_eq!(ask(&mut state, &job(3)), Outcome::Queued);
    assert_eq!(ask(&mut state, &member(8, 4)), Outcome::Queued, "another pipeline waits");
}

#[test]
fn to_part_again_changes_nothing() {
    let mut state = lock(&[&member(7, 1)]);
    parted(&mut state, 1);
    let before = state.clone();
    assert!(!state.part(token(1), Some((START.plus(SPAN), SPAN))));
    assert_eq!(state, before);
}

#[test]
fn who_left_a_hold_standing_holds_anew_when_it_asks_again() {
    let mut state = lock(&[&member(7, 1)]);
    parted(&mut state, 1);
    let watch = Watch::default();
    let (next, outcome) = written(step(&state, &member(7, 1), &watch, sight(at(0))));
    assert_eq!((outcome, between(&next)), (Outcome::Granted, vec![]));
    assert_eq!(next.holders[0].term, member(7, 1).term, "it is watched over");
    assert!(next.fence > state.fence);
}

#[test]
fn who_takes_back_what_it_asked_for_lets_stand_what_it_left_standing() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    assert!(state.take_back(token(2)), "a place");
    parted(&mut state, 1);
    assert!(!state.take_back(token(1)));
    assert_eq!(between(&state), [token(1)]);
    ask(&mut state, &member(7, 1));
    assert!(state.take_back(token(1)), "a hold");
    assert!(state.holders.is_empty());
}

#[test]
fn the_pipelines_next_job_goes_past_the_queue_in_the_same_slot() {
    let of = |n, pipeline| Request { limit: Limit(3), ..member(pipeline, n) };
    let mut state = lock(&[&counted(1, 3), &of(2, 7), &job(3)]);
    parted(&mut state, 2);
    state.release(token(1));
    assert_eq!(ask(&mut state, &of(4, 7)), Outcome::Granted);
    assert_eq!((holders(&state), between(&state)), (vec![token(4)], vec![]));
    assert_eq!(state.holders[0].slot, 1);
}

#[test]
fn a_member_that_waits_when_another_gets_the_lock_joins_it_and_its_place_goes() {
    let mut state = lock(&[&job(1), &member(7, 2), &job(3), &member(7, 4)]);
    state.release(token(1));
    ask(&mut state, &member(7, 2));
    assert_eq!(ask(&mut state, &member(7, 4)), Outcome::Granted);
    assert_eq!((holders(&state), waiters(&state)), (vec![token(2), token(4)], vec![token(3)]));
}

#[test]
fn what_is_left_standing_ends_with_its_time() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    parted(&mut state, 1);
    state.seal(START);
    let end = START.plus(SPAN + Duration::from_secs(2));
    let at_store = |store_now| Sight { store_now, ..sight(at(0)) };
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    assert!(matches!(step(&state, &job(2), &watch, at_store(end)), Plan::Wait(_)));
    assert_eq!(written(step(&state, &job(2), &watch, at_store(EpochMs(end.0 + 1)))).1, Outcome::Granted);
    let (late, outcome) = written(step(&state, &member(7, 3), &watch, at_store(EpochMs(end.0 + 1))));
    assert_eq!((outcome, holders(&late)), (Outcome::Queued, vec![]), "a late member queues like anyone");
}

#[test]
fn a_job_whose_process_is_dead_leaves_it_standing_all_the_same() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    parted(&mut state, 1);
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    let gone = [token(1)];
    let plan = step(&state, &job(2), &watch, Sight { gone: &gone, ..sight(at(99)) });
    assert!(matches!(plan, Plan::Wait(_)), "{plan:?}");
}

#[test]
fn the_last_job_of_a_pipeline_leaves_nothing() {
    let mut state = lock(&[&member(7, 1)]);
    assert!(state.part(token(1), None));
    assert!(state.is_free());
    let mut state = lock(&[&member(7, 1)]);
    parted(&mut state, 1);
    assert!(state.part(token(1), None));
    assert!(state.is_free());
}

#[test]
fn who_was_asked_to_end_and_who_is_no_pipelines_leaves_nothing() {
    let mut state = lock(&[&member(7, 1)]);
    state.revoke(token(1), "ada");
    assert!(parted(&mut state, 1));
    assert!(state.is_free());
    let mut state = lock(&[&job(1), &job(2)]);
    assert!(parted(&mut state, 1) && parted(&mut state, 2) && !parted(&mut state, 3));
    assert!(state.is_free());
}

#[test]
fn all_holds_of_an_owner_or_those_nobody_works_under_can_be_ended() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    parted(&mut state, 1);
    assert_eq!(state.release_all(&member(8, 0).owner, true), []);
    assert_eq!(state.release_all(&member(7, 0).owner, true).len(), 1);
    let mut state = lock(&[&member(7, 1), &member(7, 2)]);
    assert_eq!(state.release_all(&member(7, 0).owner, true), [], "they work");
    assert_eq!(state.release_all(&member(7, 0).owner, false).len(), 2);
}

#[test]
fn a_retry_of_the_job_that_left_it_standing_takes_it_over() {
    let mut state = lock(&[&member(7, 1), &job(2)]);
    parted(&mut state, 1);
    assert_eq!(ask(&mut state, &retry(&member(7, 1), 10)), Outcome::Granted);
    assert_eq!((holders(&state), between(&state)), (vec![token(10)], vec![]));
}

#[test]
fn a_reservation_lets_the_pipeline_go_on_and_force_ends_what_is_left_standing() {
    let mut state = lock(&[&member(7, 1)]);
    parted(&mut state, 1);
    let by = Request::new(Owner::reservation("ada"), token(9), Term::Static { until: None });
    state.reserve(&by, "new disks");
    assert_eq!(state.clone().request(&member(7, 2), true), Outcome::Granted);
    state.release(token(9));
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    let force = Request { force_after: Some(Duration::ZERO), ..job(3) };
    assert_eq!(written(step(&state, &force, &watch, sight(at(0)))).1, Outcome::Granted);
}
