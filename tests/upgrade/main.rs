//! Two versions of the program that meet: on one host, over one store, and in the middle of a job.

#[path = "../harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "one harness for several targets: this one uses a part of it")]
mod harness;

mod binary;
mod documents;
mod frames;
mod keepers;
mod stages;
