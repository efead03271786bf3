use super::{
    super::{Line, MAX_NEWEST},
    *,
};

/// A job of a pipeline of one line.
fn of(n: u64, pipeline: u64) -> Request {
    Request { line: Some(Line::new("shop main", pipeline)), ..job(n) }
}

fn watched(state: &LockState) -> Watch {
    let mut watch = Watch::default();
    watch.observe(state, at(0));
    watch
}

#[test]
fn a_newer_pipeline_takes_the_places_of_older_ones_of_its_line_alone() {
    let other = Request { line: Some(Line::new("shop dev", 3)), ..job(5) };
    let state = lock(&[&of(1, 4), &of(2, 5), &job(3), &of(4, 6), &other, &of(6, 7), &of(7, 7)]);
    assert_eq!((holders(&state), waiters(&state)), (vec![token(1)], [3, 5, 6, 7].map(token).to_vec()));
    assert_eq!(state.newest, [Line::new("shop main", 7)]);
}

#[test]
fn an_older_pipeline_does_not_get_in_while_a_newer_one_waits_or_holds() {
    let mut state = lock(&[&of(1, 5), &of(2, 6)]);
    let before = state.clone();
    assert_eq!(state.request(&of(3, 5), true), Outcome::Obsolete { by: 6 });
    state.release(token(1));
    assert_eq!(state.request(&of(2, 6), true), Outcome::Granted);
    assert_eq!(state.request(&of(3, 5), true), Outcome::Obsolete { by: 6 });
    assert_eq!(step(&before, &of(3, 5), &watched(&before), sight(at(0))), Plan::Obsolete { by: 6 });
}

#[test]
fn an_older_pipeline_gets_in_once_the_newer_one_is_through() {
    let mut state = lock(&[&job(9), &of(1, 5), &of(2, 6)]);
    for n in [9, 2] {
        state.release(token(n));
    }
    assert_eq!(ask(&mut state, &of(3, 5)), Outcome::Granted, "somebody wants the older state back");
}

#[test]
fn a_waiter_learns_that_it_is_obsolete_though_the_newer_one_has_come_and_gone() {
    let mut state = lock(&[&job(9), &of(1, 5), &of(2, 6)]);
    state.release(token(2));
    state.release(token(9));
    state.seal(START);
    assert_eq!(step(&state, &of(1, 5), &watched(&state), sight(at(0))), Plan::Obsolete { by: 6 });
    let first = lock(&[&job(3)]).over_free(Some(&state), START);
    assert_eq!(step(&first, &of(1, 5), &watched(&first), sight(at(0))), Plan::Obsolete { by: 6 });
    let new = Sight { was_queued: false, ..sight(at(0)) };
    assert_eq!(written(step(&first, &of(1, 5), &watched(&first), new)).1, Outcome::Queued);
}

#[test]
fn it_learns_so_though_an_older_try_of_its_job_seems_to_hold() {
    let again = Request { replaces: None, ..retry(&of(1, 5), 10) };
    let state = lock(&[&of(1, 5), &again, &of(2, 6)]);
    assert_eq!(waiters(&state), [token(2)]);
    assert_eq!(step(&state, &again, &watched(&state), sight(at(0))), Plan::Obsolete { by: 6 });
}

#[test]
fn an_old_document_makes_nobody_obsolete() {
    let before = lock(&[&of(2, 6)]);
    let mut watch = watched(&before);
    let mut now = before.clone();
    now.release(token(2));
    ask(&mut now, &job(3));
    ask(&mut now, &of(1, 5));
    watch.observe(&now, at(1));
    watch.observe(&before, at(2));
    assert!(matches!(step(&before, &of(1, 5), &watch, sight(at(2))), Plan::Wait(_)));
}

#[test]
fn a_newer_pipeline_that_does_not_get_in_takes_no_place() {
    let mut state = lock(&[&job(9), &of(1, 5)]);
    let before = state.clone();
    assert_eq!(state.request(&of(2, 6), false), Outcome::Busy);
    assert_eq!(state, before);
}

#[test]
fn a_newer_pipeline_takes_a_free_lock_over_the_heads_of_those_it_makes_obsolete() {
    let mut state = lock(&[&job(9), &of(1, 5)]);
    state.release(token(9));
    assert_eq!(ask(&mut state, &of(2, 6)), Outcome::Granted);
    assert_eq!(waiters(&state), []);
}

#[test]
fn a_retry_and_a_member_of_a_pipeline_that_holds_are_not_obsolete() {
    let in_pipeline = |n| Request { line: of(n, 5).line, ..member(5, n) };
    let mut state = lock(&[&in_pipeline(1), &of(2, 6)]);
    assert_eq!(ask(&mut state, &in_pipeline(3)), Outcome::Granted);
    assert_eq!(ask(&mut state, &retry(&in_pipeline(1), 10)), Outcome::Granted);
    let mut state = lock(&[&job(9), &of(1, 5)]);
    assert_eq!(ask(&mut state, &retry(&of(1, 5), 10)), Outcome::Queued);
}

#[test]
fn the_last_lines_are_remembered_with_their_highest_numbers() {
    let mut state = lock(&[&job(1)]);
    let line = |key: u64, pipeline| Some(Line::new(&key.to_string(), pipeline));
    for key in 0..40 {
        for pipeline in 1..=2 {
            let n = 100 + key * 2 + pipeline;
            ask(&mut state, &Request { line: line(key, pipeline), ..job(n) });
        }
    }
    assert_eq!(state.newest.len(), MAX_NEWEST);
    assert_eq!((state.newest.first(), state.newest.last()), (line(8, 2).as_ref(), line(39, 2).as_ref()));
}

#[test]
fn a_long_key_is_cut_and_told_apart_by_a_hash() {
    let long = |end| Line::new(&format!("{}{end}", "ü".repeat(100)), 1).key;
    assert!(long("a").len() <= 113 && long("a") != long("b"));
    assert_eq!(long("a"), long("a"));
    assert_eq!(Line::new(&"x".repeat(100), 1).key.len(), 100);
}

#[test]
fn who_waits_to_join_the_hold_of_its_pipeline_keeps_its_place_until_that_has_ended() {
    let mate = |n, limit| Request { line: of(n, 5).line, limit: Limit(limit), ..member(5, n) };
    let mut state = lock(&[&counted(9, 2), &mate(1, 2), &mate(2, 1), &of(3, 6)]);
    assert_eq!(waiters(&state), [2, 3].map(token));
    state.release(token(1));
    assert_eq!(ask(&mut state, &mate(2, 1)), Outcome::Obsolete { by: 6 });
    assert_eq!((waiters(&state), state.newest), (vec![token(3)], vec![Line::new("shop main", 6)]));
}

#[test]
fn who_lost_its_place_joins_its_pipeline_once_that_holds() {
    let mate = |n| Request { line: of(n, 5).line, ..member(5, n) };
    let mut state = lock(&[&job(9), &mate(1), &of(3, 6)]);
    for n in [9, 3] {
        state.release(token(n));
    }
    assert_eq!(ask(&mut state, &mate(2)), Outcome::Granted);
    assert_eq!(written(step(&state, &mate(1), &watched(&state), sight(at(0)))).1, Outcome::Granted);
}

#[test]
fn what_is_remembered_of_a_line_does_not_go_back() {
    let mut state = lock(&[&job(9), &of(1, 5), &of(2, 6)]);
    state.release(token(2));
    for request in [of(3, 4), of(4, 5)] {
        assert_eq!(ask(&mut state, &request), Outcome::Queued);
    }
    assert_eq!((waiters(&state), state.newest), (vec![token(4)], vec![Line::new("shop main", 6)]));
}

#[test]
fn whose_place_a_newer_try_has_is_superseded_though_its_line_is_obsolete() {
    let mut state = lock(&[&job(9), &of(1, 5), &of(2, 6)]);
    state.release(token(2));
    ask(&mut state, &Request { replaces: None, ..retry(&of(1, 5), 10) });
    assert_eq!(step(&state, &of(1, 5), &watched(&state), sight(at(0))), Plan::Superseded);
}
