//! A guard that is dropped as its runtime ends: the connections that it had end with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline_lock::{Client, Lock};
use tokio::runtime::{Builder, Runtime};

use crate::support::Table;

async fn client(table: &Table) -> Client {
    Client::new(Arc::new(table.store().await), None)
}

/// One request over a dead connection is not waited for to its end, which would take three seconds each time. (A
/// busy machine makes a single try slow, too.)
const IN_TIME: Duration = Duration::from_millis(2_500);
const TRIES: usize = 3;

fn gives_back(runtime: impl Fn() -> Runtime) {
    let took: Vec<Duration> = std::iter::repeat_with(|| gives_back_once(&runtime)).take(TRIES).collect();
    assert!(took.iter().any(|took| *took < IN_TIME), "it took {took:?}");
}

fn gives_back_once(runtime: &impl Fn() -> Runtime) -> Duration {
    let table = runtime().block_on(Table::new());
    let since = runtime().block_on(async {
        let _guard = Lock::new("shop")?.acquire(&client(&table).await).await?;
        Ok::<_, Box<dyn std::error::Error>>(Instant::now())
    });
    let took = since.unwrap().elapsed();
    runtime().block_on(async {
        let taken = Lock::new("shop").unwrap().try_acquire(&client(&table).await).await.unwrap();
        taken.expect("the lock is free").release().await.unwrap();
    });
    took
}

#[test]
fn a_guard_is_given_back_as_its_runtime_of_one_thread_ends() {
    gives_back(|| Builder::new_current_thread().enable_all().build().unwrap());
}

#[test]
fn a_guard_is_given_back_as_its_runtime_of_many_threads_ends() {
    gives_back(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
}
