//! Several locks for one job, and a pipeline's hold between its jobs.

use std::{sync::Arc, time::Duration};

use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Given, Here, Hold, Parting, Progress, Several, Wish},
    lock::{LockName, Owner, Request, Token},
    store::MemoryStore,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    SOON, in_time,
    moody::{Mood, Moody},
    request_of,
};

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn client() -> Client {
    Client::new(Arc::new(MemoryStore::new()), None)
}

fn wishes(names: &[&str], request: &Request, options: &AcquireOptions) -> Vec<Wish> {
    let wish = |name: &&str| Wish { name: lock(name), request: request.clone(), options: options.clone() };
    names.iter().map(wish).collect()
}

fn alone() -> Request {
    let token = Token::new(Uuid::new_v4());
    request_of(Owner::alone(token), token)
}

fn member_of(pipeline: u64) -> Request {
    request_of(Owner::pipeline("gitlab.example.com", 7, pipeline), Token::new(Uuid::new_v4()))
}

async fn all(client: &Client, names: &[&str], wait: Duration) -> Several {
    let wishes = wishes(names, &alone(), &AcquireOptions::waiting(wait));
    in_time("acquiring", client.acquire_all(wishes, |_| {})).await
}

fn names(several: &Several) -> Vec<String> {
    several.holds.iter().map(|hold| hold.name().to_string()).collect()
}

async fn holders(client: &Client, name: &str) -> usize {
    client.look(&lock(name)).await.unwrap().map_or(0, |state| state.holders.len())
}

#[tokio::test]
async fn free_locks_cost_one_request_each_in_any_order() {
    let (store, client) = Moody::client();
    let got = all(&client, &["c", "a", "b"], SOON).await;
    assert!(got.failure.is_none());
    assert_eq!(names(&got), ["a", "b", "c"]);
    assert_eq!(store.requests(), 3);
}

#[tokio::test]
async fn no_free_lock_waits_for_the_answer_about_another() {
    let (store, client) = Moody::client();
    store.set(Mood::HangingWrites);
    let wishes = wishes(&["a", "b", "c"], &alone(), &AcquireOptions::waiting(SOON));
    let acquiring = tokio::spawn(async move { client.acquire_all(wishes, |_| {}).await });
    in_time("all three writes", async {
        while store.requests() < 3 {
            store.has_written().await
        }
    })
    .await;
    acquiring.abort();
}

#[tokio::test]
async fn while_a_lock_is_waited_for_none_that_sorts_after_it_is_held() {
    let client = client();
    let first = all(&client, &["b"], SOON).await;
    let waiting = client.clone();
    let second = tokio::spawn(async move { all(&waiting, &["a", "b", "c"], SOON).await });
    in_time("the wait", async {
        while client.look(&lock("b")).await.unwrap().is_none_or(|state| state.queue.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((holders(&client, "a").await, holders(&client, "c").await), (1, 0));
    for hold in first.holds {
        hold.release().await.unwrap();
    }
    let second = in_time("the second's turn", second).await.unwrap();
    assert_eq!(names(&second), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_lock_that_is_not_got_costs_nobody_the_others() {
    let client = client();
    let first = all(&client, &["b"], SOON).await;
    let second = all(&client, &["a", "b", "c"], Duration::ZERO).await;
    assert!(matches!(&second.failure, Some(AcquireError::Busy { name, .. }) if name.as_str() == "b"));
    assert_eq!(names(&second), ["a"]);
    assert_eq!(holders(&client, "c").await, 0);
    in_time("recording", client.recorded()).await;
    assert_eq!(client.history(&lock("c")).await.unwrap(), [], "nothing was done under it");
    drop(first);
}

/// Many jobs that want overlapping locks in all orders: each gets its turn.
#[tokio::test]
async fn jobs_that_name_their_locks_in_any_order_never_wait_for_each_other() {
    let client = client();
    let orders = [["a", "b"], ["b", "a"], ["b", "c"], ["c", "b"], ["c", "a"], ["a", "c"]];
    let jobs: Vec<_> = (0..18)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let got = all(&client, &orders[n % orders.len()], SOON).await;
                assert!(got.failure.is_none(), "{:?}", got.failure);
                assert_eq!(got.holds.len(), 2);
                for hold in got.holds {
                    hold.release().await.unwrap();
                }
            })
        })
        .collect();
    for job in jobs {
        in_time("a job", job).await.unwrap();
    }
}

fn lingering() -> AcquireOptions {
    AcquireOptions { parting: Parting::Linger(Duration::from_secs(60)), ..AcquireOptions::waiting(SOON) }
}

async fn acquire(
    client: &Client,
    name: &str,
    request: Request,
    options: AcquireOptions,
) -> Result<Hold, AcquireError> {
    in_time("acquiring", client.acquire(&lock(name), request, options, |_| {})).await
}

#[tokio::test]
async fn a_name_before_one_that_the_pipeline_holds_is_only_tried() {
    let client = client();
    let foreign = acquire(&client, "a", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let own = acquire(&client, "x", member_of(1), AcquireOptions::waiting(SOON)).await.unwrap();
    let beside = |pipeline| AcquireOptions {
        beside: vec![member_of(pipeline).owner],
        ..AcquireOptions::waiting(SOON)
    };
    let refused = acquire(&client, "a", member_of(1), beside(1)).await;
    let Err(error @ AcquireError::OutOfOrder { .. }) = refused else { panic!("{refused:?}") };
    for part in ["lock a", "lock x", "not waited for"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(client.look(&lock("a")).await.unwrap().unwrap().queue.is_empty(), "it is not in the queue");
    foreign.release().await.unwrap();
    acquire(&client, "a", member_of(1), beside(1)).await.expect("a free one is taken all the same");
    drop(own);
}

#[tokio::test]
async fn a_name_behind_one_that_the_pipeline_holds_is_waited_for() {
    let client = client();
    let foreign = acquire(&client, "x", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let own = acquire(&client, "a", member_of(1), AcquireOptions::waiting(SOON)).await.unwrap();
    let waiting = client.clone();
    let second = tokio::spawn(async move {
        let beside = AcquireOptions { beside: vec![member_of(1).owner], ..AcquireOptions::waiting(SOON) };
        acquire(&waiting, "x", member_of(1), beside).await
    });
    until_it_waits(&client, "x", &second).await;
    foreign.release().await.unwrap();
    second.await.unwrap().expect("it has its turn");
    drop(own);
}

#[tokio::test]
async fn who_may_not_see_what_else_the_pipeline_holds_waits_like_anyone() {
    waits_in(Mood::Blinkered).await;
}

#[tokio::test]
async fn who_cannot_be_told_of_all_locks_waits_like_anyone() {
    waits_in(Mood::Overwhelmed).await;
}

/// Waits until `name` has a waiter; `request` is to be it.
async fn until_it_waits<T>(client: &Client, name: &str, request: &JoinHandle<T>) {
    in_time("the wait", async {
        while client.look(&lock(name)).await.unwrap().is_none_or(|state| state.queue.is_empty()) {
            assert!(!request.is_finished(), "it was only tried, or gave up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn waits_in(mood: Mood) {
    let (store, client) = Moody::client();
    store.set(mood);
    let foreign = acquire(&client, "a", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let waiting = client.clone();
    let second = tokio::spawn(async move {
        let options = AcquireOptions { beside: vec![member_of(1).owner], ..AcquireOptions::waiting(SOON) };
        acquire(&waiting, "a", alone(), options).await
    });
    until_it_waits(&client, "a", &second).await;
    foreign.release().await.unwrap();
    second.await.unwrap().expect("it has its turn");
}

#[tokio::test]
async fn all_locks_are_looked_through_once_in_a_wait_however_many_come_at_once() {
    let (store, client) = Moody::client();
    let foreign = acquire(&client, "a", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let options = AcquireOptions { beside: vec![member_of(1).owner], ..AcquireOptions::waiting(SOON) };
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (client, options) = (client.clone(), options.clone());
            tokio::spawn(async move { acquire(&client, "a", alone(), options).await })
        })
        .collect();
    in_time("all waits", async {
        while client.look(&lock("a")).await.unwrap().is_none_or(|state| state.queue.len() < 10) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(store.lists(), 10);
    waiting.iter().for_each(|waiting| waiting.abort());
    drop(foreign);
}

#[tokio::test]
async fn a_pipelines_hold_stands_between_its_jobs() {
    let client = client();
    let options = lingering();
    let first = acquire(&client, "a", member_of(1), options.clone()).await.unwrap();
    let (name, token, known) = first.let_go();
    let until = client.clock().now().plus(SOON);
    let given = client.withdraw_until(&name, token, Some(known), options.parting, until, |_| {}).await;
    assert_eq!(given.unwrap(), Given::Kept);
    let other = acquire(&client, "a", member_of(2), AcquireOptions::waiting(Duration::ZERO)).await;
    assert!(matches!(other, Err(AcquireError::Busy { .. })), "{other:?}");
    let last = AcquireOptions { parting: Parting::WithThePipeline, ..options };
    let second = acquire(&client, "a", member_of(1), last).await.unwrap();
    second.release().await.unwrap();
    acquire(&client, "a", member_of(2), AcquireOptions::waiting(Duration::ZERO)).await.unwrap();
}

#[tokio::test]
async fn what_a_pipeline_only_tried_is_not_left_standing() {
    let client = client();
    let foreign = acquire(&client, "a", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let wishes = wishes(&["a", "b"], &member_of(1), &lingering());
    let both = client.clone();
    let both = tokio::spawn(async move { both.acquire_all(wishes, |_| {}).await });
    in_time("the wait", async {
        while client.look(&lock("a")).await.unwrap().is_none_or(|state| state.queue.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(holders(&client, "b").await, 0);
    foreign.release().await.unwrap();
    let both = in_time("the pipeline's turn", both).await.unwrap();
    assert_eq!(names(&both), ["a", "b"]);
    assert!(both.holds.iter().all(|hold| hold.deadline().is_some()), "they are watched over");
}

#[tokio::test]
async fn what_stands_for_a_pipeline_stands_on_after_a_try() {
    let client = client();
    acquire(&client, "b", member_of(1), lingering()).await.unwrap().release().await.unwrap();
    let foreign = acquire(&client, "a", alone(), AcquireOptions::waiting(SOON)).await.unwrap();
    let options = AcquireOptions { wait: Duration::ZERO, ..lingering() };
    let several = client.acquire_all(wishes(&["a", "b"], &member_of(1), &options), |_| {}).await;
    assert!(matches!(several.failure, Some(AcquireError::Busy { .. })), "{several:?}");
    let token = client.look(&lock("b")).await.unwrap().unwrap().holders[0].token;
    client.withdraw(&lock("b"), token).await.unwrap();
    assert_eq!(holders(&client, "b").await, 1, "also when the job withdraws what it asked for");
    drop(foreign);
}

#[tokio::test]
async fn a_late_write_that_is_looked_for_costs_no_pipeline_its_hold() {
    let (store, client) = Moody::client();
    let request = member_of(1);
    let token = request.token;
    store.set(Mood::HangingWrites);
    let name = lock("a");
    let mut acquiring = Box::pin(client.acquire(&name, request.clone(), lingering(), |_| {}));
    tokio::select! {
        _ = &mut acquiring => panic!("the write is not answered"),
        () = store.has_written() => {}
    }
    drop(acquiring);
    store.set(Mood::Well);
    acquire(&client, "a", request, lingering()).await.unwrap().release().await.unwrap();
    assert!(client.is_unsettled(&name, token));
    in_time("looking", client.take_back_late(&name, token, Duration::from_secs(1))).await;
    assert_eq!(holders(&client, "a").await, 1);
}

#[tokio::test]
async fn no_more_wait_on_a_host_than_its_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(Arc::new(MemoryStore::new()), Some(Here::open(folder.path()).unwrap()));
    let options = AcquireOptions { max_waiting: Some(1), ..AcquireOptions::waiting(SOON) };
    let holder = acquire(&client, "a", alone(), options.clone()).await.unwrap();
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let (waiting, patient) = (client.clone(), options.clone());
    let waiter = tokio::spawn(async move {
        waiting.acquire(&lock("a"), alone(), patient, |progress| drop(told.send(progress))).await
    });
    in_time("the wait", async { while !matches!(news.recv().await, Some(Progress::Waiting(_))) {} }).await;
    let crowded = acquire(&client, "a", alone(), options.clone()).await;
    assert!(matches!(crowded, Err(AcquireError::Crowded { most: 1, .. })), "{crowded:?}");
    acquire(&client, "b", alone(), options.clone()).await.expect("who need not wait takes no place");
    holder.release().await.unwrap();
    let second = in_time("the grant", waiter).await.unwrap().unwrap();
    let third =
        acquire(&client, "a", alone(), AcquireOptions { wait: Duration::from_millis(1), ..options }).await;
    assert!(matches!(third, Err(AcquireError::TimedOut { .. })), "the place is free again: {third:?}");
    drop(second);
}
