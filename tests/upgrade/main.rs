//! Two versions of the program that meet: on one host, over one store, and in the middle of a job.

#[path = "../harness/mod.rs"]
mod harness;

mod binary;
mod documents;
mod frames;
mod keepers;
mod stages;
