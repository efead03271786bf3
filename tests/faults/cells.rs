//! Scenarios that mostly wait, beside each other: each in a thread, some dozens at once.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

/// How many run at once: their processes, and a table that was just started, have to be quick enough for leases of a
/// few seconds.
const AT_ONCE: usize = 24;

/// A scenario with its name.
pub type Cell = (String, Box<dyn FnOnce() + Send>);

/// Makes a cell.
pub fn cell(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Cell {
    (name.into(), Box::new(run))
}

/// Runs all, and fails with the names of those that failed.
#[track_caller]
pub fn all_hold(cells: Vec<Cell>) {
    let only = std::env::var("PIPELINE_LOCK_TEST_CELL").unwrap_or_default();
    let cells: VecDeque<Cell> = cells.into_iter().filter(|(name, _)| name.contains(&only)).collect();
    let (cells, failed) = (Mutex::new(cells), Mutex::new(Vec::new()));
    let next = || cells.lock().expect("no thread panics with it").pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, run)) = next() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                        let said = panic.downcast_ref::<String>().cloned();
                        let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                        let said = format!("{name}: {}", said.unwrap_or_default());
                        failed.lock().expect("no thread panics with it").push(said);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panics with it");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
