//! Each process of a job, at each moment of it, is hit by each fault: the lock is free in time, never while a process
//! of the job lives, and nothing is left behind. The cells are a product of four lists, those that mean nothing are
//! left out with a reason, and the test prints what became of each.

#[path = "../harness/mod.rs"]
mod harness;

mod cell;
mod fate;
mod left;
mod play;
mod proof;
mod scene;
mod stand_in;
mod table;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use cell::{Cell, Fault};
use play::Played;

/// How many cells are played at once: most of what they do is to wait.
const AT_ONCE: usize = 8;

#[test]
fn stands_in_for_a_runner() {
    stand_in::act();
}

#[test]
fn every_process_hit_at_every_moment_leaves_a_free_lock_and_nothing_else() {
    let started = Instant::now();
    let (cells, left_out) = Cell::all();
    let played = all_played(&cells);
    let bad = played.iter().filter(|played| played.verdict.is_err()).count();
    table::print(&played, &left_out, started.elapsed());
    assert_eq!(bad, 0, "cells that are not as promised: see the table");
}

/// Plays all cells. Those that take long begin first.
fn all_played(cells: &[Cell]) -> Vec<Played> {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|at| cells[*at].fault != Fault::Stop);
    let (next, played) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = play_one(cells[*at]);
                    played.lock().expect("no player panics with it").push((*at, one));
                }
            });
        }
    });
    let mut played = played.into_inner().expect("no player panics with it");
    played.sort_by_key(|(at, _)| *at);
    played.into_iter().map(|(_, one)| one).collect()
}

/// What the harness finds missing it says by a panic: that is a cell's verdict, too.
fn play_one(cell: Cell) -> Played {
    catch_unwind(AssertUnwindSafe(|| play::play(cell))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Played::failed(cell, text.unwrap_or_else(|| "it panicked".into()))
    })
}
