//! pipeline-lock: locks for CI jobs.

pub mod config;
pub mod host;
pub mod lock;
pub mod store;
