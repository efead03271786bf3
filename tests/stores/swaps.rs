//! A swap takes effect on what it expects, and else shows what is there.

use std::sync::Arc;

use pipeline_lock::{
    lock::{EpochMs, Fence, LockState, Outcome},
    store::{Consistency, Expected, Store, Swap},
};
use tokio::task::JoinSet;

use crate::{
    bench::Bench,
    parts::{FREE, SEED, change, changed, first, name, read, request, swapped, take, token},
};

on_stores!(memory local dynamodb: {
    a_first_write_begins_at_its_seed,
    a_first_write_goes_on_from_a_freed_lock,
    a_first_write_numbers_its_holder_itself,
    a_first_write_on_a_held_lock_shows_its_holder,
    a_first_write_on_an_awaited_lock_shows_its_queue,
    a_swap_of_an_absent_lock_conflicts,
    a_swap_of_the_right_revision_takes_effect,
    a_swap_of_a_stale_revision_conflicts,
    of_concurrent_first_writes_one_wins,
    of_concurrent_swaps_of_one_revision_one_wins,
});

async fn a_first_write_begins_at_its_seed(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    assert_eq!(read(store, &name).await, None);
    let state = take(store, &name, 1).await;
    assert_eq!((state.rev.0, state.fence.0), (SEED.0 + 1, SEED.0 + 1));
    let holder = state.holder(token(1)).unwrap();
    assert_eq!(state.fence_of(holder), state.fence);
    assert_eq!(holder.who, request(store, 1).who);
    assert_eq!(read(store, &name).await.as_ref(), Some(&state));
    assert_eq!(store.read(&name, Consistency::Eventual).await.unwrap(), Some(state));
}

/// Also when the next writer's clock is behind.
async fn a_first_write_goes_on_from_a_freed_lock(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    let free = change(store, &name, &held, |lock| assert!(lock.release(token(1)))).await;
    assert!(free.is_free());
    let behind = Expected::Free { seed: EpochMs(SEED.0 - 1_000_000) };
    let again = swapped(store.swap(&name, behind, &first(&request(store, 2))).await.unwrap());
    assert_eq!(again.fence, held.fence.next());
    assert_eq!(again.rev, free.rev.next());
    assert_eq!(again.fence_of(again.holder(token(2)).unwrap()), again.fence);
}

/// Whatever number the writer has given it, of a state that is no more.
async fn a_first_write_numbers_its_holder_itself(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let request = request(store, 1);
    let mut new = LockState::new(EpochMs(5));
    assert_eq!(new.request(&request, false), Outcome::Granted);
    let state = swapped(store.swap(&name, FREE, &new).await.unwrap());
    assert_eq!(state.fence, Fence(SEED.0 + 1));
    assert_eq!(state.fence_of(state.holder(token(1)).unwrap()), state.fence);
}

async fn a_first_write_on_a_held_lock_shows_its_holder(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    let swap = store.swap(&name, FREE, &first(&request(store, 2))).await.unwrap();
    assert_eq!(swap, Swap::Conflict(Some(held.clone())));
    assert_eq!(read(store, &name).await, Some(held));
}

async fn a_first_write_on_an_awaited_lock_shows_its_queue(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    let awaited = change(store, &name, &held, |lock| {
        assert_eq!(lock.request(&request(store, 2), true), Outcome::Queued);
        lock.release(token(1));
    })
    .await;
    let swap = store.swap(&name, FREE, &first(&request(store, 3))).await.unwrap();
    assert_eq!(swap, Swap::Conflict(Some(awaited)));
}

async fn a_swap_of_an_absent_lock_conflicts(bench: &Bench) {
    let (store, there, absent) = (&*bench.store, name("there"), name("absent"));
    let held = take(store, &there, 1).await;
    let new = changed(&held, |lock| assert!(lock.release(token(1))));
    assert_eq!(store.swap(&absent, Expected::This(&held), &new).await.unwrap(), Swap::Conflict(None));
    assert_eq!(bench.document(&absent).await, None, "a swap never makes what it expects");
}

async fn a_swap_of_the_right_revision_takes_effect(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    let new = changed(&held, |lock| {
        lock.request(&request(store, 2), true);
        lock.revoke(token(1), "someone");
    });
    let swap = store.swap(&name, Expected::This(&held), &new).await.unwrap();
    assert_eq!(swap, Swap::Swapped(new.clone()));
    assert_eq!(read(store, &name).await, Some(new));
}

async fn a_swap_of_a_stale_revision_conflicts(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let stale = take(store, &name, 1).await;
    let current = change(store, &name, &stale, |lock| {
        lock.request(&request(store, 2), true);
    })
    .await;
    let late = changed(&stale, |lock| assert!(lock.release(token(1))));
    let swap = store.swap(&name, Expected::This(&stale), &late).await.unwrap();
    assert_eq!(swap, Swap::Conflict(Some(current.clone())));
    assert_eq!(read(store, &name).await, Some(current));
}

const WRITERS: u64 = 8;

async fn others(bench: &Bench) -> Vec<(u64, Arc<dyn Store>)> {
    let mut stores = Vec::new();
    for n in 1..=WRITERS {
        stores.push((n, bench.another().await));
    }
    stores
}

async fn of_concurrent_first_writes_one_wins(bench: &Bench) {
    for round in 0..10 {
        let name = name(&format!("lock {round}"));
        let mut writers = JoinSet::new();
        for (n, store) in others(bench).await {
            let name = name.clone();
            writers
                .spawn(async move { store.swap(&name, FREE, &first(&request(&*store, n))).await.unwrap() });
        }
        let swaps = writers.join_all().await;
        let winners: Vec<&Swap> = swaps.iter().filter(|swap| matches!(swap, Swap::Swapped(_))).collect();
        let [Swap::Swapped(won)] = winners[..] else { panic!("not one winner: {winners:?}") };
        assert_eq!(read(&*bench.store, &name).await.as_ref(), Some(won));
        let lost = swaps.iter().filter(|swap| **swap == Swap::Conflict(Some(won.clone()))).count();
        assert_eq!(lost + 1, swaps.len(), "a loser saw something else: {swaps:?}");
    }
}

async fn of_concurrent_swaps_of_one_revision_one_wins(bench: &Bench) {
    let name = name("a");
    let mut current = take(&*bench.store, &name, 100).await;
    for _ in 0..10 {
        let mut writers = JoinSet::new();
        for (n, store) in others(bench).await {
            let (name, old) = (name.clone(), current.clone());
            let new = changed(&old, |lock| {
                lock.queue.clear();
                lock.request(&request(&*store, n), true);
            });
            writers.spawn(async move { store.swap(&name, Expected::This(&old), &new).await.unwrap() });
        }
        let swaps = writers.join_all().await;
        let mut winners: Vec<_> = swaps
            .into_iter()
            .filter_map(|swap| match swap {
                Swap::Swapped(state) => Some(state),
                Swap::Conflict(_) => None,
            })
            .collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        current = winners.remove(0);
        assert_eq!(read(&*bench.store, &name).await.as_ref(), Some(&current));
    }
}
