//! Renewals: late, doubled, moved, gone, and on a newer document.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{
    lock::{Beat, LockName, LockState, Rev, Term, Token},
    store::{Consistency, DynamoDbStore, Expected, Renewal, Store, Swap},
};

use crate::support::{SEED, Table, beat_of, held, holder, name, number, text, token};

async fn hold(store: &DynamoDbStore, lock: &LockName, tokens: &[u128]) -> LockState {
    let holders = tokens.iter().map(|n| holder(token(*n), 0)).collect();
    match store.swap(lock, Expected::Free { seed: SEED }, &held(holders)).await.unwrap() {
        Swap::Swapped(state) => state,
        Swap::Conflict(current) => panic!("conflict with {current:?}"),
    }
}

async fn renew(store: &DynamoDbStore, lock: &LockName, own: Token, beat: u64) -> LockState {
    match store.renew(lock, own, Beat(beat)).await.unwrap() {
        Renewal::Renewed(state) => state,
        Renewal::Gone(current) => panic!("gone: {current:?}"),
    }
}

#[tokio::test]
async fn a_renewal_raises_the_beat_and_the_revision() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let before = hold(&store, &lock, &[1]).await;
    let after = renew(&store, &lock, token(1), 1).await;
    assert_eq!(beat_of(&after, token(1)), 1);
    assert_eq!(after.rev, before.rev.next());
    assert_eq!(store.read(&lock, Consistency::Strong).await.unwrap(), Some(after));
}

#[tokio::test]
async fn a_late_or_doubled_renewal_moves_the_beat_on() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    hold(&store, &lock, &[1]).await;
    renew(&store, &lock, token(1), 5).await;
    for (late, moved) in [(5, 6), (4, 7), (1, 8)] {
        assert_eq!(beat_of(&renew(&store, &lock, token(1), late).await, token(1)), moved);
    }
}

#[tokio::test]
async fn beats_are_compared_as_numbers() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    hold(&store, &lock, &[1]).await;
    renew(&store, &lock, token(1), 9).await;
    assert_eq!(beat_of(&renew(&store, &lock, token(1), 10).await, token(1)), 10);
}

#[tokio::test]
async fn a_hold_is_renewed_wherever_it_has_moved_to() {
    let table = Table::new().await;
    let (store, other, lock) = (table.store().await, table.store().await, name("lock"));
    let mut state = hold(&store, &lock, &[1, 2, 3]).await;
    assert_eq!(beat_of(&renew(&store, &lock, token(3), 1).await, token(3)), 1);
    let renewed = other.read(&lock, Consistency::Strong).await.unwrap().unwrap();
    state.clone_from(&renewed);
    state.release(token(1));
    state.seal(SEED);
    assert!(matches!(other.swap(&lock, Expected::This(&renewed), &state).await, Ok(Swap::Swapped(_))));
    // This store has not heard of the release.
    let after = renew(&store, &lock, token(3), 2).await;
    assert_eq!((beat_of(&after, token(3)), beat_of(&after, token(2))), (2, 0));
    // One that has seen nothing at all.
    let after = renew(&table.store().await, &lock, token(3), 3).await;
    assert_eq!((beat_of(&after, token(3)), beat_of(&after, token(2))), (3, 0));
}

#[tokio::test]
async fn a_renewal_beats_an_eviction_that_saw_the_older_beat() {
    let table = Table::new().await;
    let (store, waiter, lock) = (table.store().await, table.store().await, name("lock"));
    let seen = hold(&store, &lock, &[1]).await;
    renew(&store, &lock, token(1), 1).await;
    let mut evicted = seen.clone();
    assert!(evicted.evict(token(1), Beat(0)));
    evicted.seal(SEED);
    let swap = waiter.swap(&lock, Expected::This(&seen), &evicted).await.unwrap();
    let Swap::Conflict(Some(current)) = swap else { panic!("{swap:?}") };
    assert_eq!(beat_of(&current, token(1)), 1);
}

#[tokio::test]
async fn a_renewal_never_makes_or_revives_anything() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    assert_eq!(store.renew(&lock, token(1), Beat(1)).await.unwrap(), Renewal::Gone(None));
    assert_eq!(table.item(&lock).await, None);
    let state = hold(&store, &lock, &[1]).await;
    assert_eq!(store.renew(&lock, token(2), Beat(1)).await.unwrap(), Renewal::Gone(Some(state.clone())));
    assert_eq!(store.read(&lock, Consistency::Strong).await.unwrap(), Some(state));
}

#[tokio::test]
async fn a_static_hold_has_nothing_to_renew() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let mut own = holder(token(1), 0);
    own.term = Term::Static { until: None };
    let swap = store.swap(&lock, Expected::Free { seed: SEED }, &held(vec![own])).await.unwrap();
    let Swap::Swapped(state) = swap else { panic!("{swap:?}") };
    assert_eq!(store.renew(&lock, token(1), Beat(1)).await.unwrap(), Renewal::Gone(Some(state)));
}

/// A document of a version to come: only tokens and beats are as they are today.
async fn put_newer(table: &Table, lock: &LockName) {
    let entry = |n: u128| {
        let map = [("Token", text(&token(n).to_string())), ("Beat", number(0)), ("Novel", text("x"))];
        AttributeValue::M(map.map(|(k, v)| (k.to_owned(), v)).into_iter().collect::<HashMap<_, _>>())
    };
    let item = [
        ("Format", number(99)),
        ("Rev", number(10)),
        ("Holders", AttributeValue::L(vec![entry(1), entry(2)])),
        ("Queue", AttributeValue::L(vec![entry(3)])),
        ("Novel", number(1)),
        ("ExpiresAt", number(5)),
    ];
    table.put(lock, &item).await;
}

#[tokio::test]
async fn a_newer_document_is_renewed_and_released_and_else_left_as_it_is() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    put_newer(&table, &lock).await;
    let renewed = renew(&store, &lock, token(2), 7).await;
    assert_eq!(renewed.rev, Rev(11));

    let mut next = renewed.clone();
    assert!(next.release(token(1)) && next.release(token(3)));
    next.seal(SEED);
    assert!(matches!(store.swap(&lock, Expected::This(&renewed), &next).await, Ok(Swap::Swapped(_))));
    let item = table.item(&lock).await.unwrap();
    let holders = item["Holders"].as_l().unwrap();
    assert_eq!(holders.len(), 1);
    let own = holders[0].as_m().unwrap();
    assert_eq!((&own["Beat"], &own["Novel"]), (&number(7), &text("x")));
    assert_eq!(item["Queue"], AttributeValue::L(Vec::new()));
    let kept = ["Rev", "Format", "Novel", "ExpiresAt"].map(|key| item[key].clone());
    assert_eq!(kept, [number(12), number(99), number(1), number(5)]);
    assert!(!item.contains_key("Fence"));
}

#[tokio::test]
async fn a_newer_document_is_never_taken_for_free() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let empty = AttributeValue::L(Vec::new());
    let item = [("Format", number(99)), ("Rev", number(1)), ("Holders", empty.clone()), ("Queue", empty)];
    table.put(&lock, &item).await;
    let swap = store.swap(&lock, Expected::Free { seed: SEED }, &held(vec![holder(token(1), 0)])).await;
    assert!(matches!(swap.unwrap(), Swap::Conflict(Some(state)) if state.is_newer()));
}
