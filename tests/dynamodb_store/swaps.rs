//! Swaps: numbers, unknown attributes, expiry.

use pipeline_lock::{
    lock::{EpochMs, Fence, Line, LockState, Owner, Request, Rev},
    store::{Consistency, Expected, Store, Swap},
};

use crate::support::{SEED, Table, held, holder, name, number, request, text, token};

fn swapped(swap: Swap) -> LockState {
    match swap {
        Swap::Swapped(state) => state,
        Swap::Conflict(current) => panic!("conflict with {current:?}"),
    }
}

fn conflict(swap: Swap) -> Option<LockState> {
    match swap {
        Swap::Swapped(state) => panic!("swapped to {state:?}"),
        Swap::Conflict(current) => current,
    }
}

const FREE: Expected<'static> = Expected::Free { seed: SEED };

#[tokio::test]
async fn the_first_write_numbers_the_document_and_the_hold_has_its_fence() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("a/b c/größe"));
    let state = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    assert_eq!((state.rev, state.fence), (Rev(SEED.0 + 1), Fence(SEED.0 + 1)));
    assert_eq!(state.fence_of(state.holder(token(1)).unwrap()), state.fence);
    assert!(state.extra.is_empty(), "what the table keeps for itself is no part of the lock: {state:?}");
    assert_eq!(store.read(&lock, Consistency::Strong).await.unwrap(), Some(state));
}

#[tokio::test]
async fn a_held_lock_is_a_conflict_that_brings_the_document() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let first = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    let current = conflict(store.swap(&lock, FREE, &held(vec![holder(token(2), 0)])).await.unwrap());
    assert_eq!(current, Some(first));
}

#[tokio::test]
async fn a_lock_that_only_waiters_have_is_not_free() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let first = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    let mut awaited = first.clone();
    awaited.request(&request(token(2)), true);
    awaited.release(token(1));
    awaited.seal(SEED);
    swapped(store.swap(&lock, Expected::This(&first), &awaited).await.unwrap());
    assert!(!table.item(&lock).await.unwrap().contains_key("ExpiresAt"));
    let current = conflict(store.swap(&lock, FREE, &held(vec![holder(token(3), 0)])).await.unwrap());
    assert_eq!(current, Some(awaited));
}

#[tokio::test]
async fn a_free_document_keeps_its_numbers_and_what_is_not_known_and_loses_its_expiry() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let held_by_one = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    let mut free = held_by_one.clone();
    free.release(token(1));
    free.seal(EpochMs(SEED.0 + 5000));
    swapped(store.swap(&lock, Expected::This(&held_by_one), &free).await.unwrap());
    let item = table.item(&lock).await.unwrap();
    assert_eq!(item["ExpiresAt"], number(SEED.0 / 1000 + 5 + 30 * 24 * 3600));
    table.set(&lock, "Note", text("kept")).await;

    let seed = EpochMs(1);
    let swap = store.swap(&lock, Expected::Free { seed }, &held(vec![holder(token(2), 0)])).await.unwrap();
    let again = swapped(swap);
    assert_eq!((again.rev, again.fence), (free.rev.next(), free.fence.next()));
    assert!(again.extra.contains_key("Note"));
    let item = table.item(&lock).await.unwrap();
    assert!(!item.contains_key("ExpiresAt") && item["Note"] == text("kept"), "{item:?}");
}

#[tokio::test]
async fn a_swap_leaves_alone_what_it_does_not_know_and_removes_a_stray_expiry() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let first = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    table.set(&lock, "Note", text("kept")).await;
    table.set(&lock, "ExpiresAt", number(4_000_000_000_u64)).await;
    let mut next = first.clone();
    next.revoke(token(1), "me");
    next.seal(SEED);
    swapped(store.swap(&lock, Expected::This(&first), &next).await.unwrap());
    let item = table.item(&lock).await.unwrap();
    assert!(!item.contains_key("ExpiresAt") && item["Note"] == text("kept"), "{item:?}");
    let read = store.read(&lock, Consistency::Strong).await.unwrap().unwrap();
    assert_eq!((read.holders, read.rev), (next.holders, next.rev));
}

#[tokio::test]
async fn a_swap_of_an_old_revision_or_of_nothing_writes_nothing() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let absent = held(vec![holder(token(1), 0)]);
    assert_eq!(conflict(store.swap(&lock, Expected::This(&absent), &absent).await.unwrap()), None);
    assert_eq!(table.item(&lock).await, None);

    let first = swapped(store.swap(&lock, FREE, &absent).await.unwrap());
    let mut second = first.clone();
    second.revoke(token(1), "me");
    second.seal(SEED);
    swapped(store.swap(&lock, Expected::This(&first), &second).await.unwrap());
    let current = conflict(store.swap(&lock, Expected::This(&first), &first).await.unwrap());
    assert_eq!(current, Some(second));
}

#[tokio::test]
async fn one_of_many_first_writes_at_once_wins() {
    let table = Table::new().await;
    let lock = name("lock");
    let mut tries = tokio::task::JoinSet::new();
    for n in 1..=8 {
        let (store, lock) = (table.store().await, lock.clone());
        tries.spawn(async move { store.swap(&lock, FREE, &held(vec![holder(token(n), 0)])).await });
    }
    let results = tries.join_all().await;
    let won = results.into_iter().filter(|r| matches!(r, Ok(Swap::Swapped(_)))).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn numbers_come_back_as_they_were_up_to_the_largest() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    // The codec takes no counter beyond: each has room to count.
    let largest = u64::MAX / 2;
    let seed = EpochMs(largest - 1);
    let swap = store.swap(&lock, Expected::Free { seed }, &held(vec![holder(token(1), largest)])).await;
    let state = swapped(swap.unwrap());
    assert_eq!(state.rev, Rev(largest));
    let read = store.read(&lock, Consistency::Eventual).await.unwrap();
    assert_eq!(read, Some(state));
}

#[tokio::test]
async fn a_grant_in_turn_is_written_with_its_fence_and_the_line_that_it_is_of() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let first = swapped(store.swap(&lock, FREE, &held(vec![holder(token(1), 0)])).await.unwrap());
    let of = |n, pipeline| {
        let line = Some(Line::new("shop main", pipeline));
        Request { owner: Owner::job("gitlab.example", pipeline), line, ..request(token(n)) }
    };
    let mut next = first.clone();
    for request in [of(2, 4), of(3, 5)] {
        next.request(&request, true);
    }
    next.release(token(1));
    next.request(&of(3, 5), true);
    next.seal(SEED);
    assert_eq!((next.fence, next.newest.len()), (first.fence.next(), 1));
    swapped(store.swap(&lock, Expected::This(&first), &next).await.unwrap());
    assert_eq!(store.read(&lock, Consistency::Strong).await.unwrap(), Some(next));
}
