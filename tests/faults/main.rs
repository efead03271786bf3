//! What goes wrong between this program and its table, through a proxy that has every fault, and the bugs that
//! other locks had.

#[path = "../harness/mod.rs"]
mod harness;

mod at_every_moment;
mod bed;
mod bugs;
mod cells;
mod commands;

mod late;
mod moments;
mod party;
mod proxy;
mod stages;
mod troubles;
