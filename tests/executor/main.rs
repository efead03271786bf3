//! What GitLab Runner and a job's author see of the four stages.

#[path = "../harness/mod.rs"]
mod harness;

mod input;
mod leftovers;
mod output;
mod scripts;
mod stores;
mod waiting;
