//! The keeper's process.

use std::process::ExitCode;

use crate::keeper::serve;

/// Serves one job.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline-lock: {error:#}");
            ExitCode::from(3)
        }
    }
}
