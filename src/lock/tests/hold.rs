use super::{
    super::{Fence, Holder, Rev, Standing},
    *,
};

#[test]
fn every_grant_has_a_greater_fence() {
    let mut state = lock(&[&job(1), &job(2)]);
    let first = state.fence_of(state.holder(token(1)).unwrap());
    state.release(token(1));
    ask(&mut state, &job(2));
    let second = state.fence_of(state.holder(token(2)).unwrap());
    assert!(second > first);
    assert_eq!(state.fence, second);
}

#[test]
fn a_first_write_goes_on_from_the_numbers_and_attributes_of_the_free_document() {
    let mut old = lock(&[&job(1)]);
    old.release(token(1));
    old.seal(START);
    old.extra.insert("Region".into(), super::super::Value::S("eu".into()));
    let behind = EpochMs(START.0 - 1_000_000);
    let new = lock(&[&job(2)]).over_free(Some(&old), behind);
    assert_eq!((new.rev, new.fence), (old.rev.next(), old.fence.next()));
    assert_eq!(new.fence_of(&new.holders[0]), old.fence.next(), "the fence that is stored is the holder's");
    assert_eq!(new.extra, old.extra);
    let first = lock(&[&job(2)]).over_free(None, START);
    assert_eq!((first.rev, first.fence), (Rev(START.0 + 1), Fence(START.0 + 1)));
}

#[test]
fn the_holder_of_a_first_write_keeps_its_fence_when_others_get_theirs() {
    let mut state = LockState::new(START);
    state.holders.push(Holder::granted(&shared(1), None));
    let first = state.fence;
    ask(&mut state, &shared(2));
    assert_eq!(state.fence_of(state.holder(token(1)).unwrap()), first);
    assert_eq!(state.fence_of(state.holder(token(2)).unwrap()), first.next());
}

#[test]
fn a_release_removes_only_its_own_token() {
    let mut state = lock(&[&job(1), &job(2)]);
    let before = state.clone();
    assert!(!state.release(token(9)));
    assert_eq!(waiters(&state), waiters(&before));
    assert_eq!(holders(&state), holders(&before));
    assert!(state.release(token(2)));
    assert!(state.release(token(1)));
    assert!(state.is_free());
}

#[test]
fn only_a_free_lock_is_marked_for_deletion() {
    let mut state = lock(&[&job(1), &job(2)]);
    assert_eq!(state.expires_at, None);
    state.release(token(1));
    state.seal(START);
    assert_eq!(state.expires_at, None, "it is awaited");
    state.release(token(2));
    state.seal(START);
    assert_eq!(state.expires_at, Some(START.0 / 1000 + 30 * 24 * 3600), "seconds, in 30 days");
    ask(&mut state, &job(3));
    assert_eq!(state.expires_at, None);
}

#[test]
fn what_ends_by_itself_is_marked_for_deletion_after_that() {
    let until = START.plus(Duration::from_secs(7200));
    let fixed = |n, until| Request { term: Term::Static { until }, ..counted(n, 2) };
    let mark = Some(until.0 / 1000 + 30 * 24 * 3600);
    let mut state = lock(&[&fixed(1, Some(until))]);
    assert_eq!(state.expires_at, mark);
    let first = LockState { holders: state.holders.clone(), ..LockState::new(START) };
    assert_eq!(first.over_free(None, START).expires_at, mark, "by a first write, too");
    ask(&mut state, &fixed(2, None));
    assert_eq!(state.expires_at, None, "one of them never ends");
    state.release(token(2));
    ask(&mut state, &counted(3, 2));
    assert_eq!(state.expires_at, None, "one is alive");
}

#[test]
fn every_renewal_moves_the_beat_and_none_moves_it_back() {
    let mut state = lock(&[&job(1)]);
    let beat = |state: &LockState| match state.holders[0].term {
        Term::Live { beat, .. } => beat,
        Term::Static { .. } => panic!("a live hold"),
    };
    assert!(state.renew(token(1), Beat(5)));
    assert_eq!(beat(&state), Beat(5));
    let rev = state.rev;
    assert!(state.renew(token(1), Beat(3)), "a late one");
    assert_eq!((beat(&state), state.rev), (Beat(6), rev.next()));
    assert!(state.renew(token(1), Beat(6)), "the same number again");
    assert_eq!(beat(&state), Beat(7));
}

#[test]
fn a_renewal_revives_nothing() {
    let mut state = lock(&[&job(1), &job(2)]);
    state.release(token(1));
    let before = state.clone();
    assert!(!state.renew(token(1), Beat(9)));
    assert!(!state.renew(token(2), Beat(9)), "a waiter holds nothing");
    assert_eq!(state, before);
}

#[test]
fn a_holder_that_renewed_is_not_evicted() {
    let mut state = lock(&[&job(1)]);
    state.renew(token(1), Beat(1));
    assert!(!state.evict(token(1), Beat(0)));
    assert!(state.evict(token(1), Beat(1)));
    assert!(!state.evict(token(1), Beat(1)), "there is nobody left to evict");
}

#[test]
fn static_holds_end_after_their_time_and_live_ones_never_do() {
    let fixed = |n, until| Request { term: Term::Static { until }, ..shared(n) };
    let mut state =
        lock(&[&fixed(1, Some(EpochMs(1000))), &fixed(2, Some(EpochMs(2000))), &fixed(3, None), &shared(4)]);
    assert_eq!(state.expire(EpochMs(1000)), [], "not before its time is over");
    assert_eq!(state.expire(EpochMs(1001)).len(), 1);
    assert_eq!(state.expire(EpochMs(u64::MAX)).len(), 1);
    assert_eq!(holders(&state), [token(3), token(4)]);
}

#[test]
fn a_revoked_holder_stays_until_it_releases() {
    let mut state = lock(&[&job(1), &job(2)]);
    assert!(state.revoke(token(1), "ada"));
    assert!(!state.revoke(token(1), "bob"), "it was asked already");
    assert!(!state.revoke(token(2), "ada"), "a waiter holds nothing");
    assert_eq!(state.standing(token(1), &job(1).owner), Standing::Revoked { by: "ada".into() });
    assert_eq!(ask(&mut state, &job(2)), Outcome::Queued);
}

#[test]
fn a_retry_takes_its_old_hold_over_with_a_new_fence_and_the_old_try_is_told() {
    let mut state = lock(&[&job(1), &job(2)]);
    let old = state.fence;
    state.revoke(token(1), "ada");
    let again = retry(&job(1), 10);
    assert_eq!(ask(&mut state, &again), Outcome::Granted);
    assert_eq!(holders(&state), [token(10)]);
    assert!(state.fence > old);
    assert_eq!(state.standing(token(1), &again.owner), Standing::Superseded);
    assert_eq!(state.standing(token(10), &again.owner), Standing::Revoked { by: "ada".into() });
}

#[test]
fn without_proof_that_the_old_try_is_dead_a_retry_queues() {
    let mut state = lock(&[&job(1)]);
    assert_eq!(ask(&mut state, &Request { replaces: None, ..retry(&job(1), 10) }), Outcome::Queued);
    let stranger = Request { replaces: Some(token(1)), ..job(2) };
    assert_eq!(ask(&mut state, &stranger), Outcome::Queued, "another job's hold is not taken over");
    assert_eq!(holders(&state), [token(1)]);
}

#[test]
fn a_retry_that_asks_for_more_than_there_is_room_for_does_not_get_it() {
    let mut state = lock(&[&shared(1), &shared(2)]);
    let again = Request { mode: Mode::Exclusive, limit: Limit(1), ..retry(&shared(1), 10) };
    assert_eq!(ask(&mut state, &again), Outcome::Queued);
    assert_eq!((holders(&state), waiters(&state)), (vec![token(2)], vec![token(10)]));
}

#[test]
fn a_retry_of_a_pipelines_member_replaces_that_member_alone() {
    let mut state = lock(&[&member(7, 1), &member(7, 2)]);
    assert_eq!(ask(&mut state, &retry(&member(7, 1), 10)), Outcome::Granted);
    assert_eq!(holders(&state), [token(2), token(10)]);
}

#[test]
fn a_hold_that_somebody_else_removed_is_lost() {
    let mut state = lock(&[&job(1), &job(2)]);
    assert_eq!(state.standing(token(1), &job(1).owner), Standing::Held);
    state.release(token(1));
    assert_eq!(state.standing(token(1), &job(1).owner), Standing::Lost);
}
