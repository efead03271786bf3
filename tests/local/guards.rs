//! A guard whose database is busy.

use std::{sync::Arc, time::Instant};

use pipeline_lock::{
    Client, Lock,
    client::{DROP_BLOCKS, Here},
    store::Store,
};
use rusqlite::Connection;

use crate::support::{made, open};

#[test]
fn a_drop_outside_of_a_runtime_blocks_no_longer_than_is_said_while_others_keep_the_database_busy() {
    let (_folder, path) = made();
    let store = open(&path);
    let here = Here::open(store.local_dir().unwrap()).unwrap();
    let client = Client::new(Arc::new(store), Some(here));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = runtime.block_on(Lock::new("a").unwrap().acquire(&client)).unwrap();
    drop(runtime);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let since = Instant::now();
    drop(guard);
    let took = since.elapsed();
    assert!(took < DROP_BLOCKS * 3 / 2, "it took {took:?}");
}
