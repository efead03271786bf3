use super::{
    super::{Full, MAX_QUEUE_BYTES, Waiter, codec},
    *,
};

#[test]
fn waiters_are_served_first_come_first_served() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &job(3)), Outcome::Queued, "the second does not go first");
    assert_eq!(ask(&mut state, &job(2)), Outcome::Granted);
    state.release(token(2));
    assert_eq!(ask(&mut state, &job(3)), Outcome::Granted);
}

#[test]
fn a_newcomer_queues_behind_waiters_even_if_the_lock_is_free() {
    let mut state = lock(&[&job(1), &job(2)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &job(3)), Outcome::Queued);
}

#[test]
fn free_slots_are_claimed_by_as_many_waiters_in_any_order() {
    let pooled = |n| counted(n, 2);
    let mut state = lock(&[&pooled(1), &pooled(2), &pooled(3), &pooled(4), &pooled(5)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &pooled(4)), Outcome::Queued, "one slot is the head's");
    state.release(token(2));
    assert_eq!(ask(&mut state, &pooled(5)), Outcome::Queued, "two slots are for two");
    assert_eq!(ask(&mut state, &pooled(4)), Outcome::Granted);
    assert_eq!(ask(&mut state, &pooled(6)), Outcome::Queued);
    assert_eq!(ask(&mut state, &pooled(3)), Outcome::Granted);
}

#[test]
fn a_newcomer_takes_a_slot_that_nobody_ahead_of_it_needs() {
    let pooled = |n| counted(n, 3);
    let mut state = lock(&[&pooled(1), &pooled(2), &pooled(3), &pooled(4)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &pooled(5)), Outcome::Queued);
    state.release(token(2));
    state.release(token(3));
    assert_eq!(ask(&mut state, &pooled(6)), Outcome::Granted);
}

#[test]
fn nobody_goes_past_one_who_needs_the_lock_alone() {
    let mut state = lock(&[&job(1), &shared(2), &job(3), &shared(4)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &shared(4)), Outcome::Queued, "the third can't hold beside the second");
    assert_eq!(ask(&mut state, &shared(2)), Outcome::Granted);
    assert_eq!(ask(&mut state, &shared(4)), Outcome::Queued);
}

#[test]
fn a_shared_newcomer_does_not_overtake_an_exclusive_waiter() {
    let mut state = lock(&[&shared(1), &job(2)]);
    assert_eq!(ask(&mut state, &shared(3)), Outcome::Queued);
}

#[test]
fn a_higher_priority_goes_first_and_equal_ones_keep_their_order() {
    let urgent = |n| Request { priority: 5, ..job(n) };
    let state = lock(&[&job(1), &job(2), &urgent(3), &job(4), &urgent(5)]);
    assert_eq!(waiters(&state), [token(3), token(5), token(2), token(4)]);
}

#[test]
fn a_newcomer_with_a_higher_priority_than_all_who_wait_takes_a_free_lock_at_once() {
    let mut state = lock(&[&job(1), &job(2)]);
    state.release(token(1));
    assert_eq!(ask(&mut state, &Request { priority: 1, ..job(3) }), Outcome::Granted);
    assert_eq!(waiters(&state), [token(2)]);
}

#[test]
fn tickets_stay_in_order_across_an_empty_queue() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    let last = state.waiter(token(3)).unwrap().ticket;
    state.release(token(2));
    state.release(token(3));
    state.seal(START);
    ask(&mut state, &job(4));
    assert!(state.waiter(token(4)).unwrap().ticket > last);
}

#[test]
fn asking_again_changes_nothing() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    let before = state.clone();
    assert_eq!(state.request(&job(1), true), Outcome::Granted);
    assert_eq!(state.request(&job(2), true), Outcome::Queued);
    assert_eq!(state, before);
}

#[test]
fn who_may_not_wait_is_told_so_and_leaves_nothing_behind() {
    let mut state = lock(&[&job(1)]);
    let before = state.clone();
    assert_eq!(state.request(&job(2), false), Outcome::Busy);
    assert_eq!(state, before);
}

#[test]
fn a_retried_job_keeps_its_place_though_nobody_names_the_old_try() {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    let ticket = state.waiter(token(2)).unwrap().ticket;
    let again = Request { replaces: None, ..retry(&job(2), 20) };
    assert_eq!(ask(&mut state, &again), Outcome::Queued);
    assert_eq!(waiters(&state), [token(20), token(3)]);
    assert_eq!(state.waiter(token(20)).unwrap().ticket, ticket);
}

#[test]
fn a_retried_job_waits_for_what_it_asks_for_now() {
    let mut state = lock(&[&job(1), &job(2)]);
    let who = Who { host: "second".into(), ..Who::default() };
    let again = Request { mode: Mode::Shared, limit: Limit(9), who, ..retry(&job(2), 20) };
    ask(&mut state, &again);
    let waiter = state.waiter(token(20)).unwrap();
    assert_eq!((waiter.mode, waiter.limit, waiter.who.host.as_str()), (Mode::Shared, Limit(9), "second"));
}

#[test]
fn a_retried_member_of_a_waiting_pipeline_keeps_its_own_place_and_leaves_the_others_theirs() {
    let mut state = lock(&[&job(1), &member(7, 2), &member(7, 3), &job(4)]);
    ask(&mut state, &retry(&member(7, 3), 30));
    assert_eq!(waiters(&state), [token(2), token(30), token(4)]);
}

#[test]
fn who_would_wait_behind_more_than_it_wants_does_not_wait() {
    let brief = |n, max| Request { max_queue: Some(max), ..job(n) };
    let mut state = lock(&[&brief(1, 0)]);
    assert_eq!(holders(&state), [token(1)], "a free lock has no queue");
    assert_eq!(state.request(&brief(2, 0), true), Outcome::QueueFull(Full::Count(0)));
    assert_eq!(ask(&mut state, &brief(2, 1)), Outcome::Queued);
    let before = state.clone();
    assert_eq!(state.request(&brief(3, 1), true), Outcome::QueueFull(Full::Count(1)));
    assert_eq!(state, before);
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    assert_eq!(step(&state, &brief(3, 1), &watch, sight(at(0))), Plan::QueueFull(Full::Count(1)));
    assert_eq!(ask(&mut state, &brief(3, 2)), Outcome::Queued);
    assert_eq!(ask(&mut state, &retry(&brief(2, 1), 20)), Outcome::Queued, "who has a place keeps it");
}

#[test]
fn a_newer_pipeline_finds_room_where_it_makes_an_older_one_obsolete() {
    let of = |n, pipeline| Request {
        line: Some(super::super::Line::new("shop main", pipeline)),
        max_queue: Some(1),
        ..job(n)
    };
    let mut state = lock(&[&job(1), &of(2, 5)]);
    assert_eq!(ask(&mut state, &of(3, 6)), Outcome::Queued);
    let before = state.clone();
    let other = Request { line: Some(super::super::Line::new("shop dev", 7)), ..of(4, 7) };
    assert_eq!(ask(&mut state, &other), Outcome::QueueFull(Full::Count(1)));
    assert_eq!(state.queue, before.queue);
}

#[test]
fn a_full_queue_takes_nobody_more_and_goes_on_serving() {
    let mut state = lock(&[&job(1), &job(10_000)]);
    let fit = 10_000 + (MAX_QUEUE_BYTES / codec::waiter_size(&state.queue[0]) - 5) as u64;
    for n in 10_001..fit {
        let Request { owner, token, .. } = job(n);
        state.queue.push(Waiter { owner, token, ..state.queue[0].clone() });
    }
    let mut n = fit;
    while ask(&mut state, &job(n)) == Outcome::Queued {
        n += 1;
    }
    assert!(codec::queue_size(&state.queue) <= MAX_QUEUE_BYTES);
    assert!(n > 11_000, "only {n} fit into {MAX_QUEUE_BYTES} bytes");
    assert_eq!(state.request(&job(n), true), Outcome::QueueFull(Full::Bytes));
    assert_eq!(state.request(&job(10_000), true), Outcome::Queued, "who waits stays");
    state.release(token(1));
    assert_eq!(state.request(&job(10_000), true), Outcome::Granted);
    assert_eq!(state.request(&job(n), true), Outcome::Queued);
}
