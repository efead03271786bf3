//! Every state that a few clients and one lock can get into, by the core's own functions, with a bounded number of
//! things that go wrong: crashes, lost and late writes, lost replies, old documents. Clients act by `plan()` and
//! the transitions alone; docs/simulation.md says what is checked, and how much that is.

mod covered;
mod key;
mod model;
mod promises;
mod search;
mod seen;
mod steps;
mod store;

use std::time::Instant;

use covered::Covered;
use model::{Wish, World};

fn goes_well(world: &World) -> Covered {
    let begin = Instant::now();
    match search::all(world) {
        Ok(found) => {
            let (states, steps, covered) = (found.states, found.steps, found.covered);
            println!("{}: {states} states, {steps} steps, {:?}, {covered:?}", world.name, begin.elapsed());
            let faults = [covered.crashes, covered.ghosts, covered.evictions];
            assert!(!faults.contains(&0), "{} has not all that can go wrong: {covered:?}", world.name);
            covered
        }
        Err(broken) => panic!("{}: {broken}", world.name),
    }
}

/// How many things go wrong, unless `FAULTS` says otherwise.
fn faults(usual: u8) -> u8 {
    std::env::var("FAULTS").ok().map_or(usual, |text| text.parse().expect("FAULTS is a number"))
}

fn world(name: &'static str, clients: &[Wish], usual: u8) -> World {
    World { name, clients: clients.to_vec(), faults: faults(usual), tries: 1, renewals: 1, leave: false }
}

#[test]
fn two_who_want_it_alone() {
    goes_well(&World { leave: true, ..world("two alone", &[Wish::Alone; 2], 3) });
}

#[test]
fn three_who_want_it_alone() {
    let covered = goes_well(&World { tries: 2, renewals: 0, ..world("three alone", &[Wish::Alone; 3], 1) });
    assert!(covered.retries > 0 && covered.passed_over > 0, "{covered:?}");
}

#[test]
fn two_who_try_again() {
    goes_well(&World { tries: 2, renewals: 0, ..world("two tries each", &[Wish::Alone; 2], 2) });
}

#[test]
fn three_for_two_places() {
    goes_well(&World { renewals: 0, ..world("three for two places", &[Wish::OneOf(2); 3], 1) });
}

#[test]
fn two_shared_and_one_alone() {
    let wishes = [Wish::Shared, Wish::Alone, Wish::Shared];
    goes_well(&World { renewals: 0, ..world("two shared, one alone", &wishes, 1) });
}

#[test]
fn two_of_a_pipeline_and_one_alone() {
    let wishes = [Wish::Member, Wish::Alone, Wish::Member];
    goes_well(&World { renewals: 0, ..world("two of a pipeline, one alone", &wishes, 1) });
}
