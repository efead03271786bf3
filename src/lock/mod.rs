//! The pure core: a lock is a document, an operation is a function from document to document. No I/O, no
//! clock, no randomness.

mod admission;
mod clean;
pub mod codec;
mod history;
mod ids;
mod line;
mod liveness;
mod name;
mod order;
mod part;
mod plan;
mod queue;
mod request;
mod reserve;
mod state;
mod supersede;
mod transition;
mod value;
mod who;

#[cfg(test)]
mod tests;

pub use admission::MAX_HOLDERS;
pub use clean::{clean, is_odd};
pub use codec::CodecError;
pub use history::{Ending, HISTORY_LENGTH, How};
pub use ids::{Beat, EpochMs, Fence, Moment, Owner, Rev, Ticket, Token};
pub use line::{Line, MAX_NEWEST};
pub use liveness::{CLAIM_WINDOW, Watch};
pub use name::{LockName, MAX_NAME_BYTES, NameError};
pub use plan::{Plan, Removal, RemovalReason, Sight, plan};
pub use queue::{Full, MAX_QUEUE_BYTES};
pub use request::{Outcome, PRIORITIES, Request, Standing};
pub use reserve::Reserving;
pub use state::{FORMAT, Holder, Limit, LockState, Mode, Order, Term, Waiter};
pub use value::{Map, Value};
pub use who::Who;
