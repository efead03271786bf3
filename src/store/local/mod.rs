//! The locks of one host, in a SQLite file that many processes use at once.
//!
//! Two processes agree on their locks only if they name the same file: one path per host, named by the
//! configuration. Where that file cannot be used it is an error, and never another file instead.

mod connect;
mod create;
mod database;
mod history;
mod layout;
mod place;
mod store;
mod trouble;
mod users;

pub use store::LocalStore;
