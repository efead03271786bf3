//! The library's guards: how they are given back, and what is left when they are not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline_lock::{
    AcquireError, Client, Lock, LockError, Locks, Progress,
    client::{DROP_BLOCKS, Given, Loss},
    lock::{FORMAT, LockName, Owner, Value},
    store::MemoryStore,
};
use tokio::runtime::Runtime;

use crate::{
    SOON, in_time,
    moody::{Mood, Moody},
};

fn lock(name: &str) -> Lock {
    Lock::new(name).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn client() -> Client {
    Client::new(Arc::new(MemoryStore::new()), None)
}

async fn holders(client: &Client, name: &str) -> usize {
    client.look(&LockName::new(name).unwrap()).await.unwrap().map_or(0, |state| state.holders.len())
}

async fn waiters(client: &Client, name: &str) -> usize {
    client.look(&LockName::new(name).unwrap()).await.unwrap().map_or(0, |state| state.queue.len())
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    in_time(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[test]
fn a_guard_that_is_dropped_as_its_runtime_ends_is_given_back() {
    let client = client();
    runtime().block_on(async { drop(lock("a").acquire(&client).await.unwrap()) });
    assert_eq!(runtime().block_on(holders(&client, "a")), 0);
}

#[test]
fn a_guard_that_outlives_its_runtime_is_given_back_where_it_is_dropped() {
    let client = client();
    let guard = runtime().block_on(lock("a").acquire(&client)).unwrap();
    drop(guard);
    assert_eq!(runtime().block_on(holders(&client, "a")), 0);
}

#[test]
fn a_request_that_is_dropped_as_its_runtime_ends_leaves_the_queue() {
    let client = client();
    let others = runtime();
    let held = others.block_on(lock("a").acquire(&client)).unwrap();
    let gave_up = runtime().block_on(async {
        let waiting = lock("a").wait(SOON).acquire(&client);
        tokio::select! {
            _ = waiting => false,
            () = until("the place", || async { waiters(&client, "a").await == 1 }) => true,
        }
    });
    assert!(gave_up);
    assert_eq!(others.block_on(waiters(&client, "a")), 0);
    drop(held);
}

#[tokio::test]
async fn a_request_whose_lock_a_newer_program_takes_over_leaves_no_place_behind() {
    let store = Arc::new(MemoryStore::new());
    let client = Client::new(store.clone(), None);
    let name = LockName::new("a").unwrap();
    let _held = lock("a").acquire(&client).await.unwrap();
    let upgraded = async {
        until("the place", || async { waiters(&client, "a").await == 1 }).await;
        let mut document = store.document(&name).unwrap();
        document.insert("Format".into(), Value::number(FORMAT + 1));
        store.put_document(name.clone(), document);
    };
    let waiting = lock("a").wait(SOON);
    let (refused, ()) = tokio::join!(waiting.acquire(&client), upgraded);
    assert!(matches!(refused, Err(AcquireError::Newer { .. })), "{refused:?}");
    until("the end of the place", || async { waiters(&client, "a").await == 0 }).await;
}

#[test]
fn what_several_locks_had_got_is_given_back_when_they_are_dropped_as_their_runtime_ends() {
    let client = client();
    let others = runtime();
    let held = others.block_on(lock("b").acquire(&client)).unwrap();
    let gave_up = runtime().block_on(async {
        let both = Locks::new([lock("a"), lock("b")].map(|lock| lock.wait(SOON))).unwrap();
        tokio::select! {
            _ = both.acquire(&client) => false,
            () = until("the place", || async { waiters(&client, "b").await == 1 }) => true,
        }
    });
    assert!(gave_up);
    assert_eq!(others.block_on(holders(&client, "a")), 0);
    drop(held);
}

#[test]
fn a_hold_whose_runtime_has_ended_is_lost_when_its_lease_ends() {
    let client = client();
    let lease = Duration::from_secs(10);
    let guard = runtime().block_on(lock("a").lease(lease).unwrap().acquire(&client)).unwrap();
    let since = Instant::now();
    let loss = runtime().block_on(in_time("the loss", guard.lost(Duration::from_secs(9))));
    assert!(matches!(loss, Loss::Expiring { .. }), "{loss:?}");
    assert!(since.elapsed() < Duration::from_secs(8), "it was told after {:?}", since.elapsed());
}

#[test]
fn a_store_that_does_not_answer_blocks_a_drop_no_longer_than_is_said() {
    let (store, client) = Moody::client();
    let guard = runtime().block_on(lock("a").acquire(&client)).unwrap();
    store.set(Mood::HangingWrites);
    let since = Instant::now();
    drop(guard);
    let took = since.elapsed();
    assert!(took >= DROP_BLOCKS && took < DROP_BLOCKS + Duration::from_secs(2), "it took {took:?}");
}

#[tokio::test]
async fn a_drop_in_a_living_runtime_blocks_nobody() {
    let (store, client) = Moody::client();
    let guard = lock("a").acquire(&client).await.unwrap();
    store.set(Mood::HangingWrites);
    let since = Instant::now();
    drop(guard);
    assert!(since.elapsed() < Duration::from_secs(1));
    in_time("the write in the background", store.has_written()).await;
    store.deliver_late().await;
    assert_eq!(holders(&client, "a").await, 0);
    // So that the end of this runtime finds nothing more to wait for.
    store.set(Mood::Well);
}

#[tokio::test]
async fn a_release_that_nobody_waits_for_any_more_goes_on() {
    let (store, client) = Moody::client();
    let guard = lock("a").acquire(&client).await.unwrap();
    let mut release = Box::pin(guard.release());
    store.set(Mood::HangingWrites);
    tokio::select! {
        biased;
        _ = &mut release => panic!("the store does not answer"),
        () = store.has_written() => {}
    }
    store.set(Mood::Well);
    drop(release);
    until("the release", || async { holders(&client, "a").await == 0 }).await;
}

#[tokio::test]
async fn to_try_a_held_lock_costs_one_request_and_leaves_nothing() {
    let (store, client) = Moody::client();
    let guard = lock("a").acquire(&client).await.unwrap();
    let before = store.requests();
    assert!(in_time("trying", lock("a").try_acquire(&client)).await.unwrap().is_none());
    tokio::task::yield_now().await;
    assert_eq!(store.requests(), before + 1);
    guard.release().await.unwrap();
    assert!(lock("a").try_acquire(&client).await.unwrap().is_some());
}

#[tokio::test]
async fn news_come_as_a_stream_and_then_the_guard() {
    let client = client();
    let held = lock("a").acquire(&client).await.unwrap();
    let mut acquiring = lock("a").wait(SOON).begin(&client);
    assert_eq!(waiters(&client, "a").await, 0, "nothing is asked before it is polled");
    let news = in_time("the first news", acquiring.next()).await;
    let Some(Progress::Waiting(waiting)) = news else { panic!("{news:?}") };
    assert_eq!((waiting.place, waiting.queue), (1, 1));
    held.release().await.unwrap();
    in_time("the end of the news", async { while acquiring.next().await.is_some() {} }).await;
    assert!(acquiring.next().await.is_none());
    in_time("the guard", acquiring).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn who_drops_a_request_with_its_news_leaves_the_queue() {
    let client = client();
    let held = lock("a").acquire(&client).await.unwrap();
    let mut acquiring = lock("a").wait(SOON).begin(&client);
    in_time("the first news", acquiring.next()).await;
    assert_eq!(waiters(&client, "a").await, 1);
    drop(acquiring);
    until("the queue is left", || async { waiters(&client, "a").await == 0 }).await;
    held.release().await.unwrap();
}

#[tokio::test]
async fn of_several_locks_all_are_held_or_none() {
    let client = client();
    let locks = || Locks::new([lock("c"), lock("a"), lock("b")].map(|lock| lock.wait(SOON))).unwrap();
    let held = lock("b").acquire(&client).await.unwrap();
    assert!(locks().try_acquire(&client).await.unwrap().is_none());
    until("all but one are free", || async {
        holders(&client, "a").await + holders(&client, "c").await == 0
    })
    .await;
    held.release().await.unwrap();
    let guards = in_time("all", locks().acquire(&client)).await.unwrap();
    assert_eq!(guards.iter().map(|guard| guard.name().as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(guards.release().await.unwrap(), [Given::Back; 3]);
    for name in ["a", "b", "c"] {
        assert_eq!(holders(&client, name).await, 0);
    }
}

#[tokio::test]
async fn what_becomes_of_one_of_several_does_not_hold_up_the_others() {
    let client = client();
    let guards = Locks::new([lock("a"), lock("b")]).unwrap().acquire(&client).await.unwrap();
    let name = LockName::new("a").unwrap();
    client
        .change(&name, None, |state| !state.release_all(&state.holders[0].owner.clone(), false).is_empty())
        .await
        .unwrap();
    let mut watched = Box::pin(guards.lost(Duration::ZERO));
    assert!(
        tokio::time::timeout(Duration::from_millis(1), &mut watched).await.is_err(),
        "nothing was renewed yet"
    );
    drop(watched);
    let mut guards = guards.into_guards();
    drop(guards.remove(0));
    assert_eq!(guards.remove(0).release().await.unwrap(), Given::Back);
    assert_eq!(holders(&client, "b").await, 0);
}

#[test]
fn what_makes_no_sense_is_an_error_at_once() {
    let pipeline = Owner::pipeline("gitlab.example", 1, 2);
    let alone = Owner::job("gitlab.example", 2);
    let a = || lock("a");
    assert!(a().pipeline(pipeline, Duration::ZERO).is_ok());
    for (wrong, says) in [
        (a().limit(0), "from 1 to 100, not 0"),
        (a().limit(101), "not 101"),
        (a().priority(-101), "from -100 to 100, not -101"),
        (a().max_queue(0), "nobody could wait"),
        (a().lease(Duration::from_secs(1)), "too short"),
        (a().pipeline(alone, Duration::ZERO), "job:gitlab.example/2 is no pipeline"),
        (a().resources(Vec::<String>::new()), "1 to 100 resources"),
        (a().resources(["x", "y", "x"]), "\"x\" is no name"),
        (a().resources(["x,y"]), "\"x,y\" is no name"),
        (a().resources(["x\n"]), "\"x\\n\" is no name"),
        (a().resources(["x", "y"]).and_then(|lock| lock.limit(3)), "limit is 3, but 2"),
        (a().limit(3).and_then(|lock| lock.resources(["x", "y"])), "limit is 3, but 2"),
    ] {
        let error = wrong.expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(matches!(Locks::new([]), Err(LockError::None)));
    assert!(matches!(Locks::new([a(), lock("b"), a()]), Err(LockError::Twice(name)) if name.as_str() == "a"));
}

#[tokio::test]
async fn an_older_pipeline_is_obsolete_and_says_by_which() {
    let client = client();
    let line = |pipeline| pipeline_lock::lock::Line::new("shop main", pipeline);
    let _newer = lock("a").supersedes(line(2)).acquire(&client).await.unwrap();
    let older = lock("a").supersedes(line(1)).try_acquire(&client).await;
    assert!(matches!(older, Err(AcquireError::Obsolete { by: 2, .. })), "{older:?}");
}
