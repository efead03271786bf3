//! What a lock's history keeps.

use std::time::Duration;

use pipeline_lock::{
    lock::{Ending, EpochMs, Fence, HISTORY_LENGTH, How, LockName, Mode, Owner, Who},
    store::Consistency,
};

use crate::{
    bench::Bench,
    parts::{SEED, name, read, take},
};

on_stores!(memory local dynamodb: {
    an_ending_comes_back_as_it_was,
    the_newest_comes_first_and_the_oldest_goes,
    a_second_record_of_the_same_hold_replaces_the_first,
    a_history_is_its_locks_own,
    a_history_is_no_lock_and_no_part_of_one,
    another_process_sees_it,
});

fn ending(fence: u64) -> Ending {
    Ending {
        who: Who { project: "shop/web".into(), job: "deploy".into(), job_id: fence, ..Who::default() },
        owner: Owner::job("gitlab.example", fence),
        fence: Fence(SEED.0 + fence),
        mode: Mode::Exclusive,
        slot: 0,
        waited: Duration::ZERO,
        since: SEED,
        held: Duration::from_millis(1500),
        how: How::Released,
    }
}

async fn recorded(bench: &Bench, name: &LockName, ending: &Ending) {
    bench.store.record(name, ending).await.unwrap();
}

async fn fences(bench: &Bench, name: &LockName) -> Vec<u64> {
    let endings = bench.store.endings(name).await.unwrap();
    endings.iter().map(|ending| ending.fence.0 - SEED.0).collect()
}

async fn an_ending_comes_back_as_it_was(bench: &Bench) {
    let name = name("a");
    assert_eq!(bench.store.endings(&name).await.unwrap(), []);
    let whole = Ending {
        who: Who {
            project: "gruppe/größe".into(),
            job: "a \"job\"".into(),
            job_id: 7,
            pipeline: 8,
            user: "ada".into(),
            url: "https://gitlab.example/-/jobs/7".into(),
            host: "runner-1".into(),
        },
        mode: Mode::Shared,
        slot: 3,
        waited: Duration::from_secs(75),
        since: EpochMs(1_700_000_000_001),
        how: How::Evicted,
        ..ending(1)
    };
    recorded(bench, &name, &whole).await;
    assert_eq!(bench.store.endings(&name).await.unwrap(), [whole]);
}

async fn the_newest_comes_first_and_the_oldest_goes(bench: &Bench) {
    let name = name("a");
    let all = HISTORY_LENGTH + 2;
    for fence in 0..all {
        recorded(bench, &name, &ending(fence)).await;
    }
    assert_eq!(fences(bench, &name).await, (2..all).rev().collect::<Vec<_>>());
}

/// A holder that was evicted may come to and tell its own side.
async fn a_second_record_of_the_same_hold_replaces_the_first(bench: &Bench) {
    let name = name("a");
    recorded(bench, &name, &ending(1)).await;
    recorded(bench, &name, &Ending { how: How::Lost, ..ending(1) }).await;
    let endings = bench.store.endings(&name).await.unwrap();
    assert_eq!(endings, [Ending { how: How::Lost, ..ending(1) }]);
}

async fn a_history_is_its_locks_own(bench: &Bench) {
    for (n, text) in ["a", "a/b", "b", "history"].into_iter().enumerate() {
        recorded(bench, &name(text), &ending(n as u64)).await;
    }
    for (n, text) in ["a", "a/b", "b", "history"].into_iter().enumerate() {
        assert_eq!(fences(bench, &name(text)).await, [n as u64], "{text}");
    }
}

async fn a_history_is_no_lock_and_no_part_of_one(bench: &Bench) {
    let (store, name) = (&*bench.store, name("a"));
    recorded(bench, &name, &ending(1)).await;
    assert_eq!(read(store, &name).await, None);
    assert_eq!(store.list(Consistency::Strong).await.unwrap(), []);
    let held = take(store, &name, 1).await;
    recorded(bench, &name, &ending(2)).await;
    assert_eq!(read(store, &name).await.as_ref(), Some(&held), "the record changed the lock");
    assert_eq!(store.list(Consistency::Strong).await.unwrap(), [(name, held)]);
}

async fn another_process_sees_it(bench: &Bench) {
    let (another, name) = (bench.another().await, name("a"));
    assert_eq!(another.endings(&name).await.unwrap(), []);
    recorded(bench, &name, &ending(1)).await;
    assert_eq!(another.endings(&name).await.unwrap(), [ending(1)]);
    another.record(&name, &ending(2)).await.unwrap();
    assert_eq!(fences(bench, &name).await, [2, 1]);
}
