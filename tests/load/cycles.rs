//! One process that acquires and releases for ever: neither its memory nor its descriptors grow.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline_lock::{Client, Lock, store::MemoryStore};

use crate::{alone, print, process::Usage, stores::table};

/// What memory may grow by after the first tenth, in KiB: allocators keep some in hand. A leak of 120 bytes a
/// cycle is more.
const GROWTH: u64 = 1024;

/// So many locks are gone through in turn.
const LOCKS: usize = 7;

/// In memory where there is such a place: a disk's own speed is not what is looked for.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

#[tokio::test]
async fn ten_thousand_cycles_in_a_file_leave_memory_and_descriptors_as_they_were() {
    let _alone = alone().await;
    let folder = folder();
    let client = Client::local(folder.path().join("locks.db")).await.unwrap();
    cycles("a file", &client, 10_000).await;
    let files = |sub: &str| std::fs::read_dir(folder.path().join("locks.db.d").join(sub)).unwrap().count();
    assert_eq!(files("holds"), 0, "nobody holds anything any more");
    assert_eq!(files("bells"), LOCKS, "one bell a lock");
}

#[tokio::test]
async fn ten_thousand_cycles_in_memory_leave_memory_and_descriptors_as_they_were() {
    let _alone = alone().await;
    cycles("memory", &Client::new(Arc::new(MemoryStore::new()), None), 10_000).await;
}

#[tokio::test]
async fn a_thousand_cycles_in_a_table_leave_memory_and_descriptors_as_they_were() {
    let _alone = alone().await;
    cycles("a table", &Client::new(table().await, None), 1_000).await;
}

/// Half of them by a release, half by dropping the guard, as `?` does it.
async fn cycles(place: &str, client: &Client, count: usize) {
    let (began, mut warm, mut fences) = (Instant::now(), None, [0; LOCKS]);
    for cycle in 0..count {
        if cycle == count / 10 {
            client.recorded().await;
            warm = Some(Usage::now());
        }
        let at = cycle % LOCKS;
        // After a guard that was dropped its lock comes free in the background.
        let lock = Lock::new(format!("load/cycles-{at}")).unwrap().wait(Duration::from_secs(30));
        let guard = lock.acquire(client).await.unwrap();
        assert!(guard.fence().0 > fences[at], "the fencing number grows");
        fences[at] = guard.fence().0;
        if cycle % 2 == 0 {
            guard.release().await.unwrap();
        } else {
            drop(guard);
            // What goes on in the background has its turn: a store in memory never lets it in.
            tokio::task::yield_now().await;
        }
    }
    for at in 0..LOCKS {
        let last = Lock::new(format!("load/cycles-{at}")).unwrap().wait(Duration::from_secs(30));
        last.acquire(client).await.unwrap().release().await.unwrap();
    }
    client.recorded().await;
    let (before, after, took) = (warm.unwrap(), Usage::now(), began.elapsed());
    let growth = after.resident.saturating_sub(before.resident);
    print(&format!(
        "{count} cycles in {place}: {:.1} s, {:.2} ms each; memory {} KiB after a tenth, {} at the end (peak {}), \
         {growth} more; descriptors {} and {}",
        took.as_secs_f64(),
        took.as_secs_f64() * 1000.0 / count as f64,
        before.resident,
        after.resident,
        after.peak,
        before.descriptors,
        after.descriptors
    ));
    assert!(growth <= GROWTH, "memory grew by {growth} KiB: {before:?}, {after:?}");
    assert!(after.descriptors <= before.descriptors, "descriptors: {before:?}, {after:?}");
}
