//! How a stage ends, in the runner's terms.

use std::{io::Write, process::ExitCode};

use super::StageEnvironment;

/// The exit code of a job that a newer pipeline has made obsolete, for `allow_failure: exit_codes`.
pub const OBSOLETE: i32 = 5;

/// What a stage tells the runner by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageExit {
    /// All went well.
    Success,
    /// The job's own failure, with its exit code: the job fails, and prepare is not tried again.
    BuildFailure(i32),
    /// Ours or the host's failure: prepare is tried again, a script is not.
    SystemFailure,
}

impl StageExit {
    /// The process's exit code, by the numbers that the runner gave; a build failure's own code goes into the
    /// runner's file, anew each time, as a stale one would be taken for this one's.
    pub fn code(self, environment: &StageEnvironment) -> ExitCode {
        match self {
            Self::Success => ExitCode::SUCCESS,
            Self::SystemFailure => ExitCode::from(environment.system_failure),
            Self::BuildFailure(code) => {
                if let Some(file) = &environment.exit_code_file {
                    let written = std::fs::File::create(file).and_then(|mut f| writeln!(f, "{code}"));
                    if let Err(error) = written {
                        tracing::warn!(%error, "the job's exit code can't be told to the runner");
                    }
                }
                ExitCode::from(environment.build_failure)
            }
        }
    }
}
