//! The pure core: a lock is a document, an operation is a function from document to document. No I/O, no
//! clock, no randomness.

mod admission;
pub mod codec;
mod ids;
mod liveness;
mod name;
mod plan;
mod queue;
mod request;
mod state;
mod transition;
mod value;
mod who;

#[cfg(test)]
mod tests;

pub use admission::MAX_HOLDERS;
pub use codec::CodecError;
pub use ids::{Beat, EpochMs, Fence, Moment, Owner, Rev, Ticket, Token};
pub use liveness::{CLAIM_WINDOW, Watch};
pub use name::{LockName, MAX_NAME_BYTES, NameError};
pub use plan::{Plan, Removal, RemovalReason, Sight, plan};
pub use queue::MAX_QUEUE_BYTES;
pub use request::{Outcome, Request, Standing};
pub use state::{FORMAT, Holder, Limit, LockState, Mode, Term, Waiter};
pub use value::{Map, Value};
pub use who::Who;
