//! What docs/security.md claims, tried by somebody who wants it to be wrong.

#[path = "../harness/mod.rs"]
mod harness;

mod attacker;
mod documents;
mod files;
mod forgery;
mod local_user;
mod one_user;
mod policies;
mod policy;
mod run_as;
mod secrets;
mod spoken;
mod talk;
