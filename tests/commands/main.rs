//! What users of the command line see.

#[path = "../harness/mod.rs"]
mod harness;

mod acquire;
mod as_root;
mod caller;
mod exec;
mod explain;
mod list;
mod manner;
mod nested;
mod overdue;
mod pipeline;
mod python_tool;
mod reserve;
mod rules;
mod status;
mod terminal;
mod try_job;
mod unlock;
mod watch;
