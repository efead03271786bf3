//! What a guard or a request leaves behind where the store does not answer as it should: nothing that stands for
//! longer than it must.

use std::{fs, path::Path, sync::Arc, time::Duration};

use pipeline_lock::{
    AcquireError, Client, Lock, Locks, Progress,
    client::{Found, Here},
    lock::{LockName, Token},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    SOON, in_time,
    moody::{Mood, Moody},
};

fn lock() -> Lock {
    Lock::new("a").unwrap().wait(SOON)
}

async fn stands(client: &Client) -> (usize, usize) {
    let state = client.look(&LockName::new("a").unwrap()).await.unwrap();
    state.map_or((0, 0), |state| (state.holders.len(), state.queue.len()))
}

async fn until_it_stands(client: &Client, holders: usize, waiters: usize) {
    in_time("what is left to go", async {
        while stands(client).await != (holders, waiters) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A client whose requests and guards have files.
fn on_a_host() -> (Arc<Moody>, Client, Here, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let here = Here::open(folder.path()).unwrap();
    let (store, _) = Moody::client();
    (store.clone(), Client::new(store, Some(here.clone())), here, folder)
}

fn files(folder: &Path) -> Vec<Token> {
    let files = fs::read_dir(folder.join("holds")).unwrap();
    files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Whoever looks at it finds a dead holder, and ends what stands of it.
fn counts_as_dead(here: &Here, folder: &TempDir) {
    let files = files(folder.path());
    let [token] = files.as_slice() else { panic!("files: {files:?}") };
    let found = here.bury(*token);
    assert!(matches!(found, Found::Buried(_)), "{found:?}");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The store does well again as soon as its trouble is told.
fn well_again(store: &Moody) -> impl Fn(Progress) + Send + Sync {
    |news| {
        if let Progress::Trouble { .. } = news {
            store.set(Mood::Well);
        }
    }
}

#[tokio::test]
async fn a_write_that_comes_after_the_guard_was_released_is_taken_back() {
    let (store, client) = Moody::client();
    store.set(Mood::LosingWrites);
    let guard = in_time("acquiring", lock().acquire_with(&client, well_again(&store))).await.unwrap();
    guard.release().await.unwrap();
    store.deliver_late().await;
    assert_eq!(stands(&client).await, (1, 0), "the lost write took effect");
    until_it_stands(&client, 0, 0).await;
}

#[tokio::test]
async fn a_write_that_comes_after_the_wait_was_over_is_taken_back() {
    let (store, client) = Moody::client();
    let held = lock().acquire(&client).await.unwrap();
    store.set(Mood::LosingWrites);
    let short = lock().wait(Duration::from_millis(500));
    let over = in_time("waiting", short.acquire_with(&client, well_again(&store))).await;
    assert!(matches!(over, Err(AcquireError::TimedOut { .. })), "{over:?}");
    held.release().await.unwrap();
    store.deliver_late().await;
    assert_eq!(stands(&client).await, (1, 0), "the lost write took effect");
    until_it_stands(&client, 0, 0).await;
}

#[tokio::test]
async fn a_place_whose_request_failed_is_given_up_once_the_store_answers() {
    let (store, client) = Moody::client();
    let held = lock().acquire(&client).await.unwrap();
    let away = |news| {
        if let Progress::Waiting(_) = news {
            store.set(Mood::Away);
        }
    };
    let short = lock().wait(Duration::from_millis(500));
    let failed = in_time("waiting", short.acquire_with(&client, away)).await;
    assert!(matches!(failed, Err(AcquireError::Store { .. })), "{failed:?}");
    store.set(Mood::Well);
    assert_eq!(stands(&client).await, (1, 1));
    until_it_stands(&client, 1, 0).await;
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_guard_that_could_not_be_released_counts_as_dead() {
    let (store, client, here, folder) = on_a_host();
    let guard = lock().acquire(&client).await.unwrap();
    store.set(Mood::Refusing);
    guard.release().await.unwrap_err();
    counts_as_dead(&here, &folder);
}

#[test]
fn a_guard_that_was_dropped_and_could_not_be_given_back_counts_as_dead() {
    let (store, client, here, folder) = on_a_host();
    let guard = runtime().block_on(lock().acquire(&client)).unwrap();
    store.set(Mood::Refusing);
    drop(guard);
    counts_as_dead(&here, &folder);
}

#[test]
fn a_request_that_ends_with_its_runtime_and_a_write_under_way_counts_as_dead() {
    let (store, client, here, folder) = on_a_host();
    runtime().block_on(async {
        store.set(Mood::HangingWrites);
        tokio::select! {
            _ = lock().acquire(&client) => panic!("the write is not answered"),
            () = store.has_written() => {}
        }
        store.set(Mood::Well);
    });
    counts_as_dead(&here, &folder);
}

#[tokio::test]
async fn a_request_that_could_not_leave_the_queue_counts_as_dead() {
    let (store, client, here, folder) = on_a_host();
    let held = lock().acquire(&client).await.unwrap();
    let own = files(folder.path());
    tokio::select! {
        _ = lock().acquire(&client) => panic!("it is held"),
        () = until_it_stands(&client, 1, 1) => {}
    }
    let left = files(folder.path()).into_iter().find(|token| !own.contains(token)).expect("a file");
    store.set(Mood::Refusing);
    let found = in_time("the end of its try to leave", async {
        loop {
            match here.bury(left) {
                Found::Alive => tokio::time::sleep(Duration::from_millis(5)).await,
                found => return found,
            }
        }
    })
    .await;
    assert!(matches!(found, Found::Buried(_)), "{found:?}");
    drop(found);
    store.set(Mood::Well);
    held.release().await.unwrap();
}

#[tokio::test]
async fn what_was_tried_and_could_not_be_put_back_is_given_back_when_the_request_fails() {
    let (store, client) = Moody::client();
    let held = lock().acquire(&client).await.unwrap();
    store.set(Mood::Clinging);
    let well = |news| {
        if let Progress::Waiting(_) = news {
            store.set(Mood::Well);
        }
    };
    let wait = Duration::from_millis(500);
    let both = Locks::new(["a", "b"].map(|name| Lock::new(name).unwrap().wait(wait))).unwrap();
    let over = in_time("waiting", both.acquire_with(&client, well)).await;
    assert!(matches!(over, Err(AcquireError::TimedOut { .. })), "{over:?}");
    let b = LockName::new("b").unwrap();
    in_time("what was tried to go", async {
        while !client.look(&b).await.unwrap().unwrap().holders.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    held.release().await.unwrap();
}
