//! What users of the command line see: `exec`, `acquire`, `release`, `status`, `try`.

#[path = "../harness/mod.rs"]
mod harness;

mod acquire;
mod caller;
mod exec;
mod pipeline;
mod status;
mod try_job;
