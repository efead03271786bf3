//! How commands end: one table, which `--help` prints.

use std::process::ExitCode;

use crate::client::AcquireError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The lock was not got: held, or waited for in vain.
    NotGot,
    /// Wrong usage: what the command needs was not said.
    Usage,
    /// The configuration or the store can't be used.
    Unusable,
    /// The lock was lost, and the command was ended.
    Lost,
    /// The command's own code, or 128 and a signal's number.
    Code(u8),
}

impl Exit {
    /// The exit of an acquire that failed.
    pub const fn of(error: &AcquireError) -> Self {
        match error {
            AcquireError::TimedOut { .. }
            | AcquireError::Busy { .. }
            | AcquireError::OutOfOrder { .. }
            | AcquireError::Crowded { .. }
            | AcquireError::QueueFull { .. }
            | AcquireError::Obsolete { .. }
            | AcquireError::Superseded { .. } => Self::NotGot,
            AcquireError::Newer { .. } | AcquireError::Store { .. } => Self::Unusable,
        }
    }

    /// The exit code.
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotGot => 1,
            Self::Usage => 2,
            Self::Unusable => 3,
            Self::Lost => 4,
            Self::Code(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
