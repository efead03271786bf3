//! How commands end: one table, which `--help` prints.

use std::process::ExitCode;

use crate::{client::AcquireError, executor};

const OBSOLETE: u8 = {
    assert!(0 < executor::OBSOLETE && executor::OBSOLETE < 126, "a code of its own");
    executor::OBSOLETE.cast_unsigned() as u8
};

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
    /// A newer pipeline has made this one's work obsolete.
    Obsolete,
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
            | AcquireError::Superseded { .. } => Self::NotGot,
            AcquireError::Obsolete { .. } => Self::Obsolete,
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
            // The executor's stage ends with the same one.
            Self::Obsolete => OBSOLETE,
            Self::Code(code) => code,
        }
    }
}

/// What the command needs was not said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub &'static str);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
