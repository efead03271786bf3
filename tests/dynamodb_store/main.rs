//! The store on DynamoDB against Amazon's DynamoDB Local, and against servers that fail: what is special to
//! it. What every store does is tested over all of them.

#[path = "../harness/mod.rs"]
mod harness;

mod black_hole;
mod errors;
mod guards;
mod home;
mod items;
mod renewals;
mod support;
mod swaps;
mod tables;
