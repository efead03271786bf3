use super::{
    super::{Full, Removal, RemovalReason, Rev},
    *,
};

fn watched(state: &LockState, since: Moment) -> Watch {
    let mut watch = Watch::default();
    watch.observe(state, since);
    watch
}

fn removed(plan: &Plan) -> Vec<(Token, RemovalReason)> {
    match plan {
        Plan::Write { removed, .. } => {
            removed.iter().map(|Removal { holder, why }| (holder.token, *why)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_free_lock_is_taken_in_one_write() {
    let state = LockState::new(START);
    let (next, outcome) = written(step(&state, &job(1), &watched(&state, at(0)), sight(at(0))));
    assert_eq!((outcome, holders(&next), next.rev), (Outcome::Granted, vec![token(1)], state.rev.next()));
}

#[test]
fn a_held_lock_is_queued_for_and_then_waited_for() {
    let state = lock(&[&job(1)]);
    let watch = watched(&state, at(0));
    let (next, outcome) = written(step(&state, &job(2), &watch, sight(at(0))));
    assert_eq!((outcome, waiters(&next)), (Outcome::Queued, vec![token(2)]));
    assert!(matches!(step(&next, &job(2), &watch, sight(at(0))), Plan::Wait(_)));
}

#[test]
fn ones_own_write_whose_reply_was_lost_is_recognised() {
    let state = lock(&[&job(1)]);
    assert_eq!(step(&state, &job(1), &Watch::default(), sight(at(0))), Plan::Hold);
}

#[test]
fn who_may_not_wait_is_told_busy_and_still_clears_what_is_over() {
    let now = Sight { may_queue: false, was_queued: false, ..sight(at(0)) };
    let state = lock(&[&job(1)]);
    assert_eq!(step(&state, &job(2), &watched(&state, at(0)), now), Plan::Busy);
    let over = Request { term: Term::Static { until: Some(EpochMs(START.0 - 2001)) }, ..job(1) };
    let state = lock(&[&over]);
    let plan = step(&state, &job(2), &watched(&state, at(0)), now);
    assert_eq!(removed(&plan), [(token(1), RemovalReason::Expired)]);
    assert_eq!(written(plan).1, Outcome::Granted);
}

#[test]
fn who_may_not_wait_takes_no_place_from_its_older_try() {
    let now = Sight { may_queue: false, was_queued: false, ..sight(at(0)) };
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    let again = retry(&job(2), 20);
    assert_eq!(step(&state, &again, &watched(&state, at(0)), now), Plan::Busy);
    state.release(token(1));
    let (next, outcome) = written(step(&state, &again, &watched(&state, at(0)), now));
    assert_eq!((outcome, waiters(&next)), (Outcome::Granted, vec![token(3)]), "it is the old place's turn");
}

#[test]
fn a_static_hold_is_over_two_seconds_after_its_time_and_looked_at_just_then() {
    let fixed = Request { term: Term::Static { until: Some(EpochMs(START.0 + 1000)) }, ..job(1) };
    let state = lock(&[&fixed, &job(2)]);
    let at_store = |ms: u64| Sight { store_now: EpochMs(START.0 + ms), ..sight(at(100)) };
    let watch = watched(&state, at(0));
    let Plan::Wait(look) = step(&state, &job(2), &watch, at_store(2900)) else { panic!("it is not over") };
    let then = 2900 + u64::try_from(look.as_millis()).unwrap();
    let plan = step(&state, &job(2), &watch, at_store(then));
    assert_eq!(removed(&plan), [(token(1), RemovalReason::Expired)]);
}

#[test]
fn the_head_evicts_a_silent_holder_and_takes_the_lock_in_one_write() {
    let state = lock(&[&job(1), &job(2), &job(3)]);
    let plan = step(&state, &job(2), &watched(&state, at(0)), sight(at(64)));
    assert_eq!(removed(&plan), [(token(1), RemovalReason::LeaseOver)]);
    let (next, outcome) = written(plan);
    assert_eq!((outcome, holders(&next)), (Outcome::Granted, vec![token(2)]));
}

#[test]
fn one_behind_evicts_for_a_head_that_does_not_and_leaves_it_the_lock() {
    let state = lock(&[&job(1), &job(2), &job(3)]);
    let watch = watched(&state, at(0));
    assert!(matches!(step(&state, &job(3), &watch, sight(at(64))), Plan::Wait(_)));
    let (next, outcome) = written(step(&state, &job(3), &watch, sight(at(65))));
    assert_eq!((outcome, holders(&next)), (Outcome::Queued, vec![]));
}

#[test]
fn a_holder_of_this_host_whose_processes_are_dead_is_removed_at_once() {
    let state = lock(&[&job(1), &job(2)]);
    let gone = [token(1)];
    let plan = step(&state, &job(2), &watched(&state, at(0)), Sight { gone: &gone, ..sight(at(0)) });
    assert_eq!(removed(&plan), [(token(1), RemovalReason::Dead)]);
    assert_eq!(written(plan).1, Outcome::Granted);
}

#[test]
fn a_dead_waiter_keeps_its_place_for_its_retry_until_it_keeps_others_from_the_lock() {
    let gone = [token(2)];
    let now = Sight { gone: &gone, ..sight(at(0)) };
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    assert!(matches!(step(&state, &job(3), &watched(&state, at(0)), now), Plan::Wait(_)));
    state.release(token(1));
    let (next, outcome) = written(step(&state, &job(3), &watched(&state, at(0)), now));
    assert_eq!((outcome, waiters(&next)), (Outcome::Granted, vec![]));
}

#[test]
fn a_retry_takes_its_dead_hold_over_though_others_wait() {
    let state = lock(&[&job(1), &job(2)]);
    let gone = [token(1)];
    let again = retry(&job(1), 10);
    let plan = step(&state, &again, &watched(&state, at(0)), Sight { gone: &gone, ..sight(at(99)) });
    assert_eq!(removed(&plan), []);
    let (next, outcome) = written(plan);
    assert_eq!((outcome, holders(&next)), (Outcome::Granted, vec![token(10)]));
}

#[test]
fn a_silent_head_is_passed_over_after_the_claim_window() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    state.release(token(1));
    let watch = watched(&state, at(0));
    assert!(matches!(step(&state, &job(3), &watch, sight(at(15))), Plan::Wait(_)));
    let (next, outcome) = written(step(&state, &job(3), &watch, sight(at(16))));
    assert_eq!((outcome, holders(&next), waiters(&next)), (Outcome::Granted, vec![token(3)], vec![token(2)]));
}

#[test]
fn a_waiter_that_was_passed_over_shows_that_it_is_there() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    state.release(token(1));
    state.pass_over(&job(3));
    let (next, outcome) = written(step(&state, &job(2), &watched(&state, at(0)), sight(at(0))));
    assert_eq!((outcome, next.waiter(token(2)).unwrap().missed), (Outcome::Queued, 0));
}

#[test]
fn a_waiter_whose_place_a_newer_try_has_is_told_so() {
    let mut state = lock(&[&job(1), &job(2)]);
    ask(&mut state, &retry(&job(2), 20));
    assert_eq!(step(&state, &job(2), &watched(&state, at(0)), sight(at(0))), Plan::Superseded);
}

#[test]
fn a_stale_view_of_the_time_before_it_queued_does_not_tell_a_waiter_that_it_was_replaced() {
    let before = lock(&[&job(1)]);
    let again = Request { replaces: None, ..retry(&job(1), 10) };
    let mut after = before.clone();
    ask(&mut after, &again);
    let mut watch = watched(&before, at(0));
    watch.observe(&after, at(0));
    watch.observe(&before, at(1));
    assert_ne!(step(&before, &again, &watch, sight(at(1))), Plan::Superseded);
}

#[test]
fn a_stale_view_of_the_time_before_it_queued_does_not_tell_a_waiter_that_the_queue_is_full() {
    let mut before = lock(&[&job(1), &job(2)]);
    before.seal(START);
    let one_of_two = Request { max_queue: Some(1), ..job(3) };
    let mut after = before.clone();
    after.release(token(2));
    assert_eq!(ask(&mut after, &one_of_two), Outcome::Queued);
    let watch = watched(&after, at(0));
    assert!(matches!(step(&before, &one_of_two, &watch, sight(at(1))), Plan::Wait(_)));
    let fresh = Sight { was_queued: false, ..sight(at(1)) };
    assert_eq!(step(&before, &one_of_two, &watched(&before, at(0)), fresh), Plan::QueueFull(Full::Count(1)));
}

#[test]
fn a_waiter_whose_place_somebody_removed_queues_again() {
    let state = lock(&[&job(1)]);
    assert_eq!(written(step(&state, &job(2), &watched(&state, at(0)), sight(at(0)))).1, Outcome::Queued);
}

#[test]
fn force_takes_old_static_holds_and_asks_old_live_ones_to_end() {
    let age = Duration::from_secs(3600);
    let force = Request { force_after: Some(age), ..job(9) };
    let fixed = Request { term: Term::Static { until: None }, ..shared(1) };
    let state = lock(&[&fixed, &shared(2), &Request { since: START.plus(age), ..shared(3) }]);
    let young = Sight { store_now: START.plus(age / 2), ..sight(at(0)) };
    assert_eq!(removed(&step(&state, &force, &watched(&state, at(0)), young)), []);
    let old = Sight { store_now: START.plus(age), ..sight(at(0)) };
    let plan = step(&state, &force, &watched(&state, at(0)), old);
    assert_eq!(removed(&plan), [(token(1), RemovalReason::Forced)]);
    let (next, _) = written(plan);
    assert_eq!(holders(&next), [token(2), token(3)]);
    assert!(next.holders[0].revoked.is_some() && next.holders[1].revoked.is_none());
    assert!(matches!(step(&next, &force, &watched(&next, at(0)), old), Plan::Wait(_)), "asked once");
}

#[test]
fn nobody_is_forced_out_of_a_lock_that_has_room() {
    let fixed = Request { term: Term::Static { until: None }, ..counted(1, 3) };
    let state = lock(&[&fixed, &counted(2, 3)]);
    let force = Request { force_after: Some(Duration::ZERO), ..counted(9, 3) };
    let plan = step(&state, &force, &watched(&state, at(0)), sight(at(0)));
    assert_eq!(removed(&plan), []);
    let (next, outcome) = written(plan);
    assert_eq!((outcome, holders(&next)), (Outcome::Granted, vec![token(1), token(2), token(9)]));
    assert!(next.holders.iter().all(|h| h.revoked.is_none()));
}

#[test]
fn no_more_are_forced_than_is_needed_and_the_oldest_first() {
    let since = |ms, request| Request { since: EpochMs(START.0 + ms), ..request };
    let fixed = |n| Request { term: Term::Static { until: None }, ..counted(n, 3) };
    let force = Request { force_after: Some(Duration::ZERO), ..counted(9, 3) };
    let late = Sight { store_now: START.plus(Duration::from_secs(1)), ..sight(at(0)) };
    let state = lock(&[&since(0, counted(1, 3)), &since(2, fixed(2)), &since(1, fixed(3))]);
    let plan = step(&state, &force, &watched(&state, at(0)), late);
    assert_eq!(removed(&plan), [(token(3), RemovalReason::Forced)]);
    assert_eq!(holders(&written(plan).0), [token(1), token(2), token(9)]);

    let state = lock(&[&since(2, counted(1, 3)), &since(0, counted(2, 3)), &since(1, counted(3, 3))]);
    let (next, outcome) = written(step(&state, &force, &watched(&state, at(0)), late));
    let asked = |state: &LockState| state.holders.iter().map(|h| h.revoked.is_some()).collect::<Vec<_>>();
    assert_eq!((outcome, asked(&next)), (Outcome::Queued, vec![false, true, false]));
    let again = step(&next, &force, &watched(&next, at(0)), late);
    assert!(matches!(again, Plan::Wait(_)), "the one who was asked makes room");
}

#[test]
fn a_newer_programs_document_is_left_alone() {
    let mut state = lock(&[&job(1)]);
    state.format += 1;
    assert_eq!(step(&state, &job(2), &watched(&state, at(0)), sight(at(0))), Plan::Newer);
    assert_eq!(step(&state, &job(1), &watched(&state, at(0)), sight(at(0))), Plan::Hold);
}

#[test]
fn each_write_has_the_next_revision() {
    let mut state = LockState::new(START);
    for n in 1..5 {
        let (next, _) = written(step(&state, &job(n), &watched(&state, at(0)), sight(at(0))));
        assert_eq!(next.rev, Rev(START.0 + n));
        state = next;
    }
}

#[test]
fn force_asks_none_of_ones_own_pipeline_to_end() {
    let of = |n, limit| Request { limit: Limit(limit), ..member(7, n) };
    let state = lock(&[&counted(1, 2), &of(2, 2)]);
    let force = Request { force_after: Some(Duration::ZERO), ..of(3, 1) };
    let (next, _) = written(step(&state, &force, &watched(&state, at(0)), sight(at(0))));
    assert_eq!([1, 2].map(|n| next.holder(token(n)).unwrap().revoked.is_some()), [true, false]);
}
