//! The keeper's process.

use std::process::ExitCode;

use crate::{keeper::serve, report};

/// Serves one job.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::warn(&format!("pipeline-lock: {}", report::with_causes(&error)));
            ExitCode::from(3)
        }
    }
}
