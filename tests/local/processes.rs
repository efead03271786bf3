//! Many processes, and processes that die, on one file.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Stdio},
    thread,
};

use pipeline_lock::{
    lock::{EpochMs, LockState},
    store::{Consistency, Expected, LocalStore, Store, Swap},
};

use crate::support::{a_name, begin, block_on, child, count, name_of, open, raise, role, wait_until};

const WRITERS: u64 = 8;
const SWAPS: u64 = 100;

fn stored_count(store: &LocalStore) -> u64 {
    count(&block_on(store.read(&a_name(), Consistency::Strong)).unwrap().expect("the document"))
}

fn start(test: &str, database: &Path) -> Child {
    child(test, database).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn raise_often(path: &Path) {
    let store = open(path);
    block_on(async {
        for _ in 0..SWAPS {
            raise(&store).await.unwrap();
        }
    });
}

#[test]
fn eight_processes_lose_no_swap() {
    if let Some(path) = role() {
        return raise_often(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.db");
    let store = open(&path);
    block_on(begin(&store));
    let test = name_of(eight_processes_lose_no_swap);
    let children: Vec<Child> = (0..WRITERS).map(|_| start(test, &path)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(stored_count(&store), WRITERS * SWAPS);
}

#[test]
fn eight_connections_of_one_process_lose_no_swap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.db");
    let store = open(&path);
    block_on(begin(&store));
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| raise_often(&path));
        }
    });
    assert_eq!(stored_count(&store), WRITERS * SWAPS);
}

/// Whoever is killed in the middle of a write leaves a file that the next one uses, without its half write.
#[test]
fn a_killed_writer_leaves_a_usable_database() {
    if let Some(path) = role() {
        let store = open(&path);
        loop {
            block_on(raise(&store)).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.db");
    let store = open(&path);
    block_on(begin(&store));
    for round in 0..10 {
        let before = stored_count(&store);
        let mut writer = start(name_of(a_killed_writer_leaves_a_usable_database), &path);
        wait_until("the writer has written", || stored_count(&store) > before + 5 + 3 * round);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let left = stored_count(&store);
        assert_eq!(count(&block_on(raise(&store)).unwrap()), left + 1);
    }
    drop(store);
    let database = rusqlite::Connection::open(&path).unwrap();
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// Eight processes find no file: one database comes of it, in which one of eight first writes counts.
#[test]
fn of_many_that_make_the_database_at_once_one_wins() {
    if let Some(path) = role() {
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let store = open(&path);
        let new = LockState::new(EpochMs(0));
        let swap = block_on(store.swap(&a_name(), Expected::Free { seed: EpochMs(1000) }, &new)).unwrap();
        assert!(matches!(swap, Swap::Swapped(_)), "free documents may be written over: {swap:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/locks.db");
    let test = name_of(of_many_that_make_the_database_at_once_one_wins);
    let mut children: Vec<Child> = (0..WRITERS).map(|_| start(test, &path)).collect();
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let state = block_on(open(&path).read(&a_name(), Consistency::Strong)).unwrap().unwrap();
    assert_eq!(state.fence.0, 1000 + WRITERS, "each write counts once, in the one database");
    let mut left: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["locks.db", "locks.db-shm", "locks.db-wal", "locks.db.d"]);
}
