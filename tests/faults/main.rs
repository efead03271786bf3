//! What goes wrong between this program and its table, through a proxy that has every fault, and the bugs that
//! other locks had.

#[path = "../harness/mod.rs"]
mod harness;

mod bed;
mod cells;
mod commands;
mod matrix;
mod moments;
mod party;
mod proxy;
mod stages;
mod troubles;
