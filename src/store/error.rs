//! What can go wrong between us and a store.

use thiserror::Error;

use crate::lock::{CodecError, LockName};

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The store refuses, and will refuse again: no such table, no permission, no credentials, a read-only
    /// or corrupt file. The message names the cause and the way out; retrying does not help.
    #[error("{0}")]
    Refused(String),
    /// The store could not be asked, or asked to come again later (connection refused, throttled), and the
    /// request took no effect. Retrying helps once the cause is over.
    #[error("{0}")]
    Unavailable(String),
    /// The store has no capacity left right now; as [`StoreError::Unavailable`], and pollers should ask
    /// half as often.
    #[error("{0}")]
    Throttled(String),
    /// No reply came in time: a write may have taken effect. The next reply settles it.
    #[error("{0}")]
    Unanswered(String),
    /// The document of this lock is none that this program can use.
    #[error("lock {name}: {error}")]
    Document {
        /// The lock.
        name: LockName,
        /// What is wrong with it, and the way out.
        error: CodecError,
    },
}

impl StoreError {
    /// The error with the lock that it was met with, named once.
    pub fn about(&self, name: &LockName) -> String {
        match self {
            Self::Document { error, .. } => format!("lock {name}: {error}"),
            other => format!("lock {name}: {other}"),
        }
    }

    /// Whether asking again can help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Throttled(_) | Self::Unanswered(_))
    }
}
