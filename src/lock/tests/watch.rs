use super::*;

/// When the eviction of a hold with [`LEASE`] is due for the head, from when its beat was first seen.
const DUE: u64 = 64;

fn beating(beat: u64) -> LockState {
    let mut state = lock(&[&job(1), &job(2), &job(3)]);
    if beat > 0 {
        state.renew(token(1), Beat(beat));
    }
    state
}

/// Looks made by a waiter at `place` in `span` of a hold that is steady: renewed every 15 s.
fn looks(place: usize, span: Duration) -> usize {
    let mut watch = Watch::default();
    let mut now = Duration::ZERO;
    let mut looks = 0;
    while now < span {
        watch.observe(&beating(now.as_secs() / 15), Moment(now));
        looks += 1;
        now += watch.next_look(place, Moment(now));
    }
    looks
}

#[test]
fn a_silent_holder_is_dead_after_its_lease_five_percent_and_a_second() {
    let mut watch = Watch::default();
    watch.observe(&beating(3), at(10));
    assert_eq!(watch.dead(1, Moment(at(10 + DUE).0 - Duration::from_millis(1))), []);
    assert_eq!(watch.dead(1, at(10 + DUE)), [(token(1), Beat(3))]);
    assert_eq!(watch.dead(3, at(11 + DUE)), [], "each place waits one second more");
    assert_eq!(watch.dead(3, at(12 + DUE)), [(token(1), Beat(3))]);
}

#[test]
fn a_beat_starts_the_clock_anew() {
    let mut watch = Watch::default();
    watch.observe(&beating(3), at(0));
    watch.observe(&beating(4), at(60));
    assert_eq!(watch.dead(1, at(DUE)), []);
}

#[test]
fn a_hold_that_a_token_got_anew_is_watched_anew() {
    let mut state = beating(0);
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    state.release(token(1));
    ask(&mut state, &job(2));
    state.release(token(2));
    state.release(token(3));
    assert_eq!(ask(&mut state, &job(1)), Outcome::Granted);
    watch.observe(&state, at(DUE));
    assert_eq!(watch.dead(1, at(2 * DUE - 1)), []);
    assert_eq!(watch.dead(1, at(2 * DUE)), [(token(1), Beat(0))]);
}

#[test]
fn a_stale_view_of_an_older_beat_starts_the_clock_anew() {
    let mut watch = Watch::default();
    for (second, beat) in [(0, 3), (20, 4), (40, 3), (60, 4)] {
        watch.observe(&beating(beat), at(second));
    }
    assert_eq!(watch.dead(1, at(59 + DUE)), []);
    assert_eq!(watch.dead(1, at(60 + DUE)), [(token(1), Beat(4))]);
}

#[test]
fn a_stale_view_without_the_holder_starts_the_clock_anew() {
    let mut watch = Watch::default();
    watch.observe(&beating(3), at(0));
    watch.observe(&LockState::new(START), at(30));
    watch.observe(&beating(3), at(31));
    assert_eq!(watch.dead(1, at(30 + DUE)), []);
}

#[test]
fn an_eviction_planned_on_a_stale_view_is_conditioned_on_a_revision_that_has_passed() {
    let (stale, mut current) = (beating(3), beating(3));
    let mut watch = Watch::default();
    watch.observe(&stale, at(0));
    current.renew(token(1), Beat(4));
    watch.observe(&stale, at(DUE));
    let (next, _) = written(step(&stale, &job(2), &watch, sight(at(DUE))));
    assert_eq!(next.rev, stale.rev.next());
    assert_ne!(stale.rev, current.rev, "so the swap conflicts");
}

#[test]
fn static_holds_and_kernel_locks_are_never_dead_by_silence() {
    let kernel = Request { term: Term::Live { beat: Beat(0), lease: None }, ..shared(1) };
    let fixed = Request { term: Term::Static { until: None }, ..shared(2) };
    let mut watch = Watch::default();
    watch.observe(&lock(&[&kernel, &fixed]), at(0));
    assert_eq!(watch.dead(1, at(1_000_000)), []);
}

#[test]
fn under_a_steady_hold_looks_are_few_and_fewer_the_further_behind() {
    let minute = Duration::from_secs(60);
    let head = looks(1, minute);
    assert!((20..=60).contains(&head), "{head}");
    assert!((10..=30).contains(&looks(2, minute)), "{}", looks(2, minute));
    // The first look is the one after its write.
    assert!(looks(10, minute) <= 8, "{}", looks(10, minute));
    assert!(looks(100, minute) <= 8, "{}", looks(100, minute));
}

#[test]
fn an_old_hold_costs_the_head_one_look_in_two_seconds() {
    let (ten, eleven) = (Duration::from_secs(600), Duration::from_secs(660));
    assert_eq!(looks(1, eleven) - looks(1, ten), 30);
}

#[test]
fn nobody_sleeps_through_an_eviction_that_is_due() {
    for place in [1, 2, 10, 100] {
        let mut watch = Watch::default();
        watch.observe(&beating(3), at(0));
        let due = at(DUE + place as u64 - 1);
        let mut now = at(0);
        while now < due {
            assert_eq!(watch.dead(place, now), [], "place {place}");
            now = now.plus(watch.next_look(place, now));
            watch.observe(&beating(3), now);
        }
        assert_eq!(now, due, "place {place}");
        assert_eq!(watch.dead(place, now), [(token(1), Beat(3))]);
        assert_eq!(watch.next_look(place, now), Duration::ZERO);
    }
}

#[test]
fn nobody_sleeps_through_a_passing_that_is_due() {
    let mut state = lock(&[&job(1), &job(2), &job(3), &job(4)]);
    state.release(token(1));
    for place in [2, 3] {
        let mut watch = Watch::default();
        watch.observe(&state, at(0));
        let mut now = at(0);
        while !watch.may_pass_over(place, now) {
            now = now.plus(watch.next_look(place, now));
            watch.observe(&state, now);
        }
        assert_eq!(now, at(15 + place as u64 - 1));
    }
}

#[test]
fn a_lock_that_is_free_at_each_look_but_was_held_meanwhile_is_looked_at_often() {
    let mut state = lock(&[&job(1), &job(2), &job(3), &job(4)]);
    state.release(token(1));
    let mut watch = Watch::default();
    watch.observe(&state, at(0));
    watch.observe(&state, at(8));
    let long = watch.next_look(2, at(8));
    assert!(long >= Duration::from_secs(4), "nobody has held it for a while: {long:?}");
    assert_eq!(ask(&mut state, &job(2)), Outcome::Granted);
    state.release(token(2));
    watch.observe(&state, at(9));
    let short = watch.next_look(2, at(9));
    assert!(short <= Duration::from_millis(300), "jobs are short here: {short:?}");
}
