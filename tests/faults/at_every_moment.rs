//! Everybody who may hold a lock, each fault, each moment.

use crate::{
    cells::all_hold,
    commands, moments,
    party::{exec, library},
    stages,
};

#[test]
fn whatever_fails_when_one_holds_at_a_time_and_the_lock_goes_on() {
    let mut cells = stages::cells();
    cells.extend(moments::cells("exec", exec));
    cells.extend(moments::cells("library", library));
    cells.extend(commands::cells());
    // The longest ones begin first.
    let order = ["loss", "whole job", "wait", "release"];
    cells.sort_by_key(|(name, _)| {
        order.iter().position(|moment| name.contains(moment)).unwrap_or(order.len())
    });
    all_hold(cells);
}
