//! The document of a newer program: one's own hold can be looked after and given back, and nothing else is
//! touched.

use pipeline_lock::{
    lock::{Beat, EpochMs, FORMAT, LockName, Map, Moment, Plan, Request, Sight, Value, Watch, codec, plan},
    store::{Expected, Renewal, Store, Swap},
};

use crate::{
    bench::Bench,
    parts::{FREE, SEED, change, entry, first, name, read, request, text, token},
};

on_stores!(memory local dynamodb: {
    a_first_write_leaves_it_alone,
    a_request_is_told_and_its_holder_holds,
    a_release_takes_ones_own_entry_and_leaves_the_rest,
    a_renewal_finds_its_hold,
});

mod renewing {
    use super::a_renewal_raises_ones_own_beat_and_leaves_the_rest;

    on_stores!(memory dynamodb: { a_renewal_raises_ones_own_beat_and_leaves_the_rest });
}

/// A document of the next format: job 1 holds, 2 holds, 3 waits, all with things that this version does not
/// know.
fn newer(store: &dyn Store) -> Map {
    let mut state = first(&request(store, 1));
    state.holders.push(pipeline_lock::lock::Holder::granted(&request(store, 2), None));
    assert_eq!(state.request(&request(store, 3), true), pipeline_lock::lock::Outcome::Queued);
    let mut document = codec::encode(&state);
    document.insert("Format".into(), Value::number(FORMAT + 1));
    document.insert("Shape".into(), text("round"));
    document.insert("ExpiresAt".into(), text("never"));
    for n in [1, 2] {
        let holder = entry(&mut document, "Holders", token(n)).unwrap();
        holder.insert("Mode".into(), text("upside-down"));
        holder.insert("Since".into(), text("yesterday"));
    }
    entry(&mut document, "Queue", token(3)).unwrap().insert("Ticket".into(), text("seven"));
    document
}

async fn stored(bench: &Bench) -> (LockName, Map) {
    let (name, document) = (name("a"), newer(&*bench.store));
    bench.put(&name, document.clone()).await;
    (name, document)
}

fn rev(document: &Map) -> u64 {
    match document.get("Rev") {
        Some(Value::N(digits)) => digits.parse().unwrap(),
        other => panic!("no revision: {other:?}"),
    }
}

/// Also when nobody holds or awaits it: the newer program may mean something else by that.
async fn a_first_write_leaves_it_alone(bench: &Bench) {
    let (store, (held, document)) = (&*bench.store, stored(bench).await);
    let free = name("free");
    let mut empty = document.clone();
    empty.insert("Holders".into(), Value::L(Vec::new()));
    empty.insert("Queue".into(), Value::L(Vec::new()));
    bench.put(&free, empty.clone()).await;
    for (name, document) in [(held, document), (free, empty)] {
        let swap = store.swap(&name, FREE, &first(&request(store, 9))).await.unwrap();
        assert!(matches!(&swap, Swap::Conflict(Some(found)) if found.is_newer()), "{swap:?}");
        assert_eq!(bench.document(&name).await, Some(document));
    }
}

async fn a_request_is_told_and_its_holder_holds(bench: &Bench) {
    let (store, (name, _)) = (&*bench.store, stored(bench).await);
    let state = read(store, &name).await.unwrap();
    let next = |request: Request| {
        let mut watch = Watch::default();
        watch.observe(&state, Moment(std::time::Duration::ZERO));
        let sight = Sight {
            now: Moment(std::time::Duration::from_secs(1_000_000)),
            store_now: EpochMs(u64::MAX),
            gone: &[token(1), token(3)],
            may_queue: true,
            was_queued: false,
        };
        plan(&state, &request, &watch, sight, SEED)
    };
    assert_eq!(next(request(store, 9)), Plan::Newer);
    assert_eq!(next(request(store, 3)), Plan::Newer, "a claim would be a guess");
    assert_eq!(next(request(store, 1)), Plan::Hold);
}

async fn a_release_takes_ones_own_entry_and_leaves_the_rest(bench: &Bench) {
    let (store, (name, mut expected)) = (&*bench.store, stored(bench).await);
    for (n, list) in [(1, "Holders"), (3, "Queue")] {
        let state = read(store, &name).await.unwrap();
        change(store, &name, &state, |lock| assert!(lock.release(token(n)))).await;
        let after = bench.document(&name).await.unwrap();
        assert!(rev(&after) > rev(&expected));
        expected.insert("Rev".into(), Value::number(rev(&after)));
        let Some(Value::L(entries)) = expected.get_mut(list) else { panic!("no {list}") };
        entries.remove(0);
        assert_eq!(after, expected);
    }
}

async fn a_renewal_finds_its_hold(bench: &Bench) {
    let (store, (name, _)) = (&*bench.store, stored(bench).await);
    let renewal = store.renew(&name, token(2), Beat(1)).await.unwrap();
    assert!(matches!(&renewal, Renewal::Renewed(state) if state.holder(token(2)).is_some()), "{renewal:?}");
    let renewal = store.renew(&name, token(3), Beat(1)).await.unwrap();
    assert!(matches!(&renewal, Renewal::Gone(Some(state)) if state.is_newer()), "{renewal:?}");
}

async fn a_renewal_raises_ones_own_beat_and_leaves_the_rest(bench: &Bench) {
    let (store, (name, mut expected)) = (&*bench.store, stored(bench).await);
    let stale = read(store, &name).await.unwrap();
    store.renew(&name, token(2), Beat(5)).await.unwrap();
    let after = bench.document(&name).await.unwrap();
    entry(&mut expected, "Holders", token(2)).unwrap().insert("Beat".into(), Value::number(5));
    expected.insert("Rev".into(), Value::number(rev(&expected) + 1));
    assert_eq!(after, expected);

    let mut late = stale.clone();
    late.release(token(2));
    late.seal(SEED);
    let swap = store.swap(&name, Expected::This(&stale), &late).await.unwrap();
    assert!(matches!(swap, Swap::Conflict(Some(_))), "a swap that saw the older beat: {swap:?}");
}
