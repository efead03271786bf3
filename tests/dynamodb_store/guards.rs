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

fn gives_back(runtime: impl Fn() -> Runtime) {
    let table = runtime().block_on(Table::new());
    let since = runtime().block_on(async {
        let _guard = Lock::new("shop")?.acquire(&client(&table).await).await?;
        Ok::<_, Box<dyn std::error::Error>>(Instant::now())
    });
    let took = since.unwrap().elapsed();
    // One request over a dead connection is not waited for to its end.
    assert!(took < Duration::from_millis(2_500), "it took {took:?}");
    runtime().block_on(async {
        let taken = Lock::new("shop").unwrap().try_acquire(&client(&table).await).await.unwrap();
        taken.expect("the lock is free").release().await.unwrap();
    });
}

#[test]
fn a_guard_is_given_back_as_its_runtime_of_one_thread_ends() {
    gives_back(|| Builder::new_current_thread().enable_all().build().unwrap());
}

#[test]
fn a_guard_is_given_back_as_its_runtime_of_many_threads_ends() {
    gives_back(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
}
