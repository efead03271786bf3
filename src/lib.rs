//! Locks for CI jobs: one holder at a time, first come first served, never stuck.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("locks.db");
//! use pipeline_lock::{Client, Lock};
//!
//! let client = Client::local(file).await?;
//! let guard = Lock::new("shop/production")?.acquire(&client).await?;
//! println!("deploying with fencing number {}", guard.fence());
//! guard.release().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! The layers, from the ground up: [`lock`] is the pure core, [`store`] keeps documents, [`client`] acquires and
//! holds, [`keeper`] is the process that owns a job's holds and processes, [`executor`] are the stages that
//! GitLab Runner calls, [`cli`] is the command line. [`config`], [`host`] and [`report`] stand beside them.

pub mod cli;
pub mod client;
pub mod config;
pub mod executor;
pub mod host;
pub mod keeper;
pub mod lock;
pub mod report;
pub mod store;

pub use client::{AcquireError, Acquiring, Client, Guard, Guards, Lock, LockError, Locks, Progress, Waiting};

/// The pages whose Rust examples are tested beside those in here.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
