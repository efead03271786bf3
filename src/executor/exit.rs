//! How a stage ends, in the runner's terms.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

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
    /// What a wrapped driver ended with. It tells the runner's file of exit codes by itself.
    Verbatim(i32),
    /// The signal that ended a wrapped driver.
    Signal(i32),
}

impl StageExit {
    /// The end of a wrapped driver's command.
    pub fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Verbatim(code),
            (None, Some(number)) => Self::Signal(number),
            (None, None) => Self::SystemFailure,
        }
    }

    /// The process's exit code, by the numbers that the runner gave; a build failure's own code goes into the
    /// runner's file, anew each time, as a stale one would be taken for this one's.
    ///
    /// A wrapped driver's death by a signal becomes this process's own: this does not return then.
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
            Self::Verbatim(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            Self::Signal(number) => {
                die_by(number);
                ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX))
            }
        }
    }
}

/// Ends this process by a signal, without a core file: it would be this program's, not the driver's.
fn die_by(number: i32) {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if signal_hook::low_level::emulate_default_handler(number).is_err()
        && let Some(signal) = Signal::from_named_raw(number)
    {
        let _ = kill_process(getpid(), signal);
    }
}
