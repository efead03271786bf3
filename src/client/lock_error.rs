//! What a lock can't be asked for.

use std::time::Duration;

use thiserror::Error;

use super::error::humane;
use crate::lock::{LockName, MAX_HOLDERS, NameError, Owner, PRIORITIES};

/// Why a [`Lock`](super::Lock) or several [`Locks`](super::Locks) can't be asked for in this way.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LockError {
    /// The text is no lock's name. The message says what is wrong with it.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The priority is none of [`PRIORITIES`]. Choose one that is.
    #[error("a priority is a whole number from {} to {}, not {asked}", PRIORITIES.start(), PRIORITIES.end())]
    Priority {
        /// What was asked for.
        asked: i32,
    },
    /// Nobody could hold the lock, or more than its item has room for. Choose a number from 1 to [`MAX_HOLDERS`].
    #[error("a limit is a whole number from 1 to {MAX_HOLDERS}, not {0}")]
    Limit(u32),
    /// The limit and the number of resources differ. Each holder has one of them: drop the limit.
    #[error("the limit is {limit}, but {resources} resources are named: each holder has one of them")]
    LimitAndResources {
        /// The limit.
        limit: u32,
        /// How many resources there are.
        resources: usize,
    },
    /// No resource is named, or more than can hold the lock at once. Name 1 to [`MAX_HOLDERS`].
    #[error("a lock has 1 to {MAX_HOLDERS} resources, one for each holder, not {0}")]
    Resources(usize),
    /// A resource's name is there twice, is empty, or has something in it that gets lost where names stand in one
    /// line with commas between: a comma, a control character, white space at an end. Give it another name.
    #[error(
        "{0:?} is no name for a resource: names differ, and have no comma, no control character, no white space at their ends"
    )]
    Resource(String),
    /// Nobody could ever wait. Say so with no time to wait, or give a number from 1 on.
    #[error(
        "`max_queue` is 0, so that nobody could wait: to take the lock or fail at once, wait for no time"
    )]
    NoQueue,
    /// The lease is so short that one slow request would lose the lock. Give it [`LEAST_LEASE`] at least.
    ///
    /// [`LEAST_LEASE`]: super::LEAST_LEASE
    #[error("a lease of {} is too short: it takes {} at least", humane(*.0), humane(super::LEAST_LEASE))]
    ShortLease(Duration),
    /// The owner is no pipeline, so that it has no members to share a hold. Make one by [`Owner::pipeline`].
    #[error("{0} is no pipeline, so that no others can join its hold")]
    NoPipeline(Owner),
    /// One lock is asked for twice. Name each once.
    #[error("lock {0} is asked for twice: name each lock once")]
    Twice(LockName),
    /// No lock is asked for. Name one.
    #[error("no lock is asked for")]
    None,
}
