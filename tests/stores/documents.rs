//! What is stored comes back, also what this version does not know, and what is no lock is an error.

use pipeline_lock::{
    lock::{Beat, CodecError, Line, LockName, LockState, Map, Outcome, Request, Value, codec},
    store::{Consistency, Expected, Store, StoreError},
};

use crate::{
    bench::Bench,
    parts::{FREE, SEED, change, changed, entry, first, name, read, request, swapped, take, text, token},
};

on_stores!(memory local dynamodb: {
    attributes_that_are_unknown_are_kept,
    which_pipelines_are_the_newest_is_known_after_a_first_write,
    the_item_of_another_program_is_an_error_and_left_alone,
    a_damaged_document_is_an_error_and_left_alone,
    a_list_shows_all_locks_by_name_and_nothing_else,
    only_a_free_lock_expires,
    an_expiry_on_a_held_lock_does_not_stay,
    a_name_may_be_any_text,
    a_queue_of_500_comes_back,
});

/// One of each type of value.
fn unknown() -> Map {
    Map::from([
        ("Text".into(), text("grün")),
        ("Number".into(), Value::N("-12.5".into())),
        ("Truth".into(), Value::Bool(true)),
        ("Nothing".into(), Value::Null(true)),
        ("List".into(), Value::L(vec![Value::number(1), Value::M(Map::from([("a".into(), text("b"))]))])),
        ("Bytes".into(), Value::B(vec![0, 1, 255])),
        ("Texts".into(), Value::Ss(vec!["a".into(), "b".into()])),
        ("Numbers".into(), Value::Ns(vec!["1".into()])),
    ])
}

fn has_all(there: &Map) {
    for (key, value) in unknown() {
        assert_eq!(there.get(&key), Some(&value), "{key} in {there:?}");
    }
}

/// At the top, in a holder and in a waiter: through changes, and at the top also through an empty lock.
async fn attributes_that_are_unknown_are_kept(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let mut state = first(&request(store, 1));
    assert_eq!(state.request(&request(store, 2), true), Outcome::Queued);
    let mut document = codec::encode(&state);
    document.extend(unknown());
    entry(&mut document, "Holders", token(1)).unwrap().extend(unknown());
    entry(&mut document, "Queue", token(2)).unwrap().extend(unknown());
    bench.put(&name, document).await;

    let mut state = read(store, &name).await.unwrap();
    state = change(store, &name, &state, |lock| assert!(lock.revoke(token(1), "someone"))).await;
    state = change(store, &name, &state, |lock| {
        lock.request(&request(store, 3), true);
    })
    .await;
    let mut document = bench.document(&name).await.unwrap();
    has_all(&document);
    has_all(entry(&mut document, "Holders", token(1)).unwrap());
    has_all(entry(&mut document, "Queue", token(2)).unwrap());

    for n in [1, 2, 3] {
        state = change(store, &name, &state, |lock| assert!(lock.release(token(n)))).await;
    }
    let again = take(store, &name, 4).await;
    has_all(&bench.document(&name).await.unwrap());
    assert_eq!(read(store, &name).await, Some(again));
}

async fn which_pipelines_are_the_newest_is_known_after_a_first_write(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let of = |n, pipeline| Request { line: Some(Line::new("shop main", pipeline)), ..request(store, n) };
    let mut state = take(store, &name, 1).await;
    for (n, pipeline) in [(2, 5), (3, 6)] {
        state = change(store, &name, &state, |lock| {
            assert_eq!(lock.request(&of(n, pipeline), true), Outcome::Queued);
        })
        .await;
    }
    for n in [3, 1] {
        state = change(store, &name, &state, |lock| assert!(lock.release(token(n)))).await;
    }
    assert_eq!(take(store, &name, 4).await.newest, [Line::new("shop main", 6)]);
    assert_eq!(read(store, &name).await.unwrap().newest, [Line::new("shop main", 6)]);
}

async fn refused_as(bench: &Bench, name: &LockName, document: Map, expected: impl Fn(&CodecError) -> bool) {
    let store = &*bench.store;
    bench.put(name, document.clone()).await;
    let new = first(&request(store, 1));
    let read = store.read(name, Consistency::Strong).await.map(|_| ());
    let took = store.swap(name, FREE, &new).await.map(|_| ());
    let seen_before = changed(&new, |_| ());
    let swapped =
        store.swap(name, Expected::This(&seen_before), &changed(&seen_before, |_| ())).await.map(|_| ());
    let renewed = store.renew(name, token(1), Beat(1)).await.map(|_| ());
    for (what, result) in [("read", read), ("first write", took), ("swap", swapped), ("renewal", renewed)] {
        match result {
            Err(StoreError::Document { name: named, error }) if named == *name && expected(&error) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(bench.document(name).await, Some(document), "it was changed");
}

async fn the_item_of_another_program_is_an_error_and_left_alone(bench: &Bench) {
    let foreign = Map::from([("owner".into(), text("terraform")), ("Rev".into(), Value::number(7))]);
    refused_as(bench, &name("a"), foreign, |error| matches!(error, CodecError::Foreign)).await;
}

/// A number written as text: it must not be read as absent, nor the lock as free.
async fn a_damaged_document_is_an_error_and_left_alone(bench: &Bench) {
    let mut document = codec::encode(&first(&request(&*bench.store, 2)));
    document.insert("Fence".into(), text("12"));
    let names_it =
        |error: &CodecError| matches!(error, CodecError::Damaged { attribute, .. } if attribute == "Fence");
    refused_as(bench, &name("a"), document, names_it).await;
}

async fn a_list_shows_all_locks_by_name_and_nothing_else(bench: &Bench) {
    let store = &*bench.store;
    assert_eq!(store.list(Consistency::Strong).await.unwrap(), []);
    let mut expected = Vec::new();
    for (n, text) in ["b", "a/ü", "a", "B"].into_iter().enumerate() {
        expected.push((name(text), take(store, &name(text), n as u64).await));
    }
    let free = change(store, &name("b"), &expected[0].1, |lock| assert!(lock.release(token(0)))).await;
    expected[0].1 = free;
    bench.put(&name("foreign"), Map::from([("owner".into(), text("someone"))])).await;
    bench.put(&name("damaged"), Map::from([("Format".into(), text("1"))])).await;
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(store.list(Consistency::Strong).await.unwrap(), expected);
}

async fn expiry(bench: &Bench, name: &LockName) -> Option<Value> {
    bench.document(name).await.unwrap().remove("ExpiresAt")
}

async fn only_a_free_lock_expires(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 1).await;
    assert_eq!(expiry(bench, &name).await, None);
    let free = change(store, &name, &held, |lock| assert!(lock.release(token(1)))).await;
    // DynamoDB's time-to-live takes a number, of seconds.
    let in_30_days = Value::number(SEED.0 / 1000 + 30 * 24 * 3600);
    assert_eq!(expiry(bench, &name).await, Some(in_30_days.clone()));

    let held = change(store, &name, &free, |lock| {
        assert_eq!(lock.request(&request(store, 2), true), Outcome::Granted);
    })
    .await;
    assert_eq!(expiry(bench, &name).await, None, "after a grant by a swap");
    let free = change(store, &name, &held, |lock| assert!(lock.release(token(2)))).await;
    assert_eq!(expiry(bench, &name).await, Some(in_30_days));

    take(store, &name, 3).await;
    assert_eq!(expiry(bench, &name).await, None, "after a first write");
    assert_ne!(read(store, &name).await, Some(free));
}

/// Whoever set it: a lock that DynamoDB deletes while it is held or awaited is held twice.
async fn an_expiry_on_a_held_lock_does_not_stay(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let mut document = codec::encode(&first(&request(store, 1)));
    document.insert("ExpiresAt".into(), Value::number(4_000_000_001_u64));
    bench.put(&name, document).await;
    let held = read(store, &name).await.unwrap();
    change(store, &name, &held, |lock| {
        assert_eq!(lock.request(&request(store, 2), true), Outcome::Queued);
    })
    .await;
    assert_eq!(expiry(bench, &name).await, None);
}

async fn a_name_may_be_any_text(bench: &Bench) {
    let store = &*bench.store;
    let long = "ü".repeat(127) + "x";
    let names = [
        "gitlab.example/group/größe/production",
        "日本語/🔒",
        "it's; DROP TABLE locks; --",
        "file:/etc/passwd?mode=ro",
        "../../etc",
        "100 %s \"quoted\" \\ back",
        "a",
        "A",
        "e\u{301}",
        "\u{e9}",
        &long,
    ];
    for (n, text) in names.into_iter().enumerate() {
        take(store, &name(text), n as u64).await;
    }
    for (n, text) in names.into_iter().enumerate() {
        let state = read(store, &name(text)).await.unwrap();
        assert_eq!(state.holders.len(), 1);
        assert!(state.holder(token(n as u64)).is_some(), "{text} is the same lock as another one");
    }
    assert_eq!(store.list(Consistency::Strong).await.unwrap().len(), names.len());
}

async fn a_queue_of_500_comes_back(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    let held = take(store, &name, 0).await;
    let awaited = change(store, &name, &held, |lock| queue_up(lock, store)).await;
    assert_eq!(read(store, &name).await.as_ref(), Some(&awaited));
    let order: Vec<_> = awaited.in_order().iter().map(|w| w.token).collect();
    assert_eq!(order, (1..=500).map(token).collect::<Vec<_>>());

    let granted = changed(&awaited, |lock| {
        lock.release(token(0));
        assert_eq!(lock.request(&request(store, 1), true), Outcome::Granted);
    });
    let swap = store.swap(&name, Expected::This(&awaited), &granted).await.unwrap();
    assert_eq!(read(store, &name).await, Some(swapped(swap)));
}

fn queue_up(lock: &mut LockState, store: &dyn Store) {
    for n in 1..=500 {
        assert_eq!(lock.request(&request(store, n), true), Outcome::Queued);
    }
}
