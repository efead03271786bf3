//! A renewal counts for its own hold alone, and never makes anything.

use pipeline_lock::{
    lock::{Beat, Limit, LockName, LockState, Mode, Request, Term},
    store::{Expected, Renewal, Store, Swap},
};

use crate::{
    bench::Bench,
    parts::{FREE, beat, change, changed, first, name, read, request, swapped, take, token},
};

on_stores!(memory local dynamodb: {
    a_renewal_without_a_hold_makes_none,
    a_static_hold_is_not_renewed,
});

/// On the stores whose holds live by their renewals.
mod renewing {
    use super::*;

    on_stores!(memory dynamodb: {
        a_renewal_raises_the_beat_and_the_revision,
        a_renewal_that_comes_late_or_twice_still_moves_the_beat,
        a_swap_that_saw_an_older_beat_conflicts,
        holders_beside_each_other_are_renewed_apart,
        a_renewal_keeps_what_others_wrote,
    });
}

/// On the store whose holds live by a kernel lock.
mod looking {
    use super::*;

    on_stores!(local: { a_renewal_only_looks });
}

async fn renewed(store: &dyn Store, name: &LockName, n: u64, beat: u64) -> LockState {
    match store.renew(name, token(n), Beat(beat)).await.unwrap() {
        Renewal::Renewed(state) => state,
        gone => panic!("{gone:?}"),
    }
}

async fn a_renewal_without_a_hold_makes_none(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    assert_eq!(store.renew(&name, token(1), Beat(1)).await.unwrap(), Renewal::Gone(None));
    assert_eq!(bench.document(&name).await, None);

    let held = take(store, &name, 1).await;
    let awaited = change(store, &name, &held, |lock| {
        lock.request(&request(store, 2), true);
    })
    .await;
    for stranger in [2, 3] {
        let renewal = store.renew(&name, token(stranger), Beat(7)).await.unwrap();
        assert_eq!(renewal, Renewal::Gone(Some(awaited.clone())));
    }
    let free = change(store, &name, &awaited, |lock| {
        lock.release(token(1));
        lock.release(token(2));
    })
    .await;
    let renewal = store.renew(&name, token(1), Beat(2)).await.unwrap();
    assert_eq!(renewal, Renewal::Gone(Some(free.clone())), "a released hold was revived");
    assert_eq!(read(store, &name).await, Some(free));
}

async fn a_static_hold_is_not_renewed(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let asked = Request { term: Term::Static { until: None }, ..request(store, 1) };
    let held = swapped(store.swap(&name, FREE, &first(&asked)).await.unwrap());
    let renewal = store.renew(&name, token(1), Beat(1)).await.unwrap();
    assert_eq!(renewal, Renewal::Gone(Some(held.clone())));
    assert_eq!(read(store, &name).await, Some(held));
}

async fn a_renewal_raises_the_beat_and_the_revision(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    let after = renewed(store, &name, 1, 1).await;
    assert_eq!((beat(&after, token(1)), after.rev), (Beat(1), held.rev.next()));
    assert_eq!(after.fence, held.fence);
    assert_eq!(read(store, &name).await, Some(after));
    assert_eq!(beat(&renewed(store, &name, 1, 9).await, token(1)), Beat(9));
}

/// Its sender counts the lease from when it was sent, so those who watch must see that it came.
async fn a_renewal_that_comes_late_or_twice_still_moves_the_beat(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    take(store, &name, 1).await;
    let mut last = renewed(store, &name, 1, 9).await;
    for number in [9, 3] {
        let next = renewed(store, &name, 1, number).await;
        assert!(beat(&next, token(1)) > beat(&last, token(1)), "after {number}: {next:?}");
        assert!(next.rev > last.rev);
        last = next;
    }
    assert_eq!(read(store, &name).await, Some(last));
}

/// So an eviction by what was seen before a renewal never takes effect.
async fn a_swap_that_saw_an_older_beat_conflicts(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let seen = take(store, &name, 1).await;
    let alive = renewed(&*bench.another().await, &name, 1, 1).await;
    let evicted = changed(&seen, |lock| assert!(lock.evict(token(1), Beat(0))));
    let swap = store.swap(&name, Expected::This(&seen), &evicted).await.unwrap();
    assert_eq!(swap, Swap::Conflict(Some(alive)));
}

async fn holders_beside_each_other_are_renewed_apart(bench: &Bench) {
    let (store, other, name) = (&*bench.store, bench.another().await, name("a"));
    let shared = |n| Request { mode: Mode::Shared, limit: Limit(3), ..request(store, n) };
    let mut state = swapped(store.swap(&name, FREE, &first(&shared(1))).await.unwrap());
    for n in [2, 3] {
        state = change(store, &name, &state, |lock| {
            lock.request(&shared(n), false);
        })
        .await;
    }
    for n in [3, 1, 2] {
        state = renewed(&*other, &name, n, n * 10).await;
    }
    let beats = |state: &LockState| state.holders.iter().map(|h| beat(state, h.token).0).collect::<Vec<_>>();
    assert_eq!(beats(&state), [10, 20, 30]);

    // Those behind move up; who has not seen it renews all the same.
    change(store, &name, &state, |lock| assert!(lock.release(token(1)))).await;
    assert_eq!(beats(&renewed(&*other, &name, 3, 31).await), [20, 31]);
    assert_eq!(beats(&renewed(&*other, &name, 2, 21).await), [21, 31]);
    let renewal = other.renew(&name, token(1), Beat(11)).await.unwrap();
    assert!(matches!(renewal, Renewal::Gone(Some(_))), "{renewal:?}");
}

/// The holder has not seen what others wrote since its last request.
async fn a_renewal_keeps_what_others_wrote(bench: &Bench) {
    let (store, other, name) = (&*bench.store, bench.another().await, name("a"));
    let held = take(store, &name, 1).await;
    let written = change(&*other, &name, &held, |lock| {
        lock.request(&request(store, 2), true);
        lock.revoke(token(1), "someone");
    })
    .await;
    let after = renewed(store, &name, 1, 1).await;
    let mut expected = written;
    expected.renew(token(1), Beat(1));
    assert_eq!(after, expected);
}

async fn a_renewal_only_looks(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    assert_eq!(store.renew(&name, token(1), Beat(5)).await.unwrap(), Renewal::Renewed(held.clone()));
    assert_eq!(read(store, &name).await, Some(held));
}
