//! The sentinel's process.

use std::process::ExitCode;

use tracing::error;

use crate::executor::Sentinel;

/// Watches over one job.
pub fn run(sentinel: &Sentinel) -> ExitCode {
    match sentinel.watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            error!(%cause, "the sentinel can't do its work");
            ExitCode::from(3)
        }
    }
}
