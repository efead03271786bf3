//! The document as it is stored, and back. Numbers are written and read as numbers, unknown attributes are
//! kept, and a document that something else wrote is an error rather than a guess.

mod decode;
mod encode;
mod error;
mod fields;
mod history;
mod line;
mod newer;

pub use decode::decode;
pub use encode::{encode, encode_holders, encode_queue};
pub(super) use encode::{queue_size, waiter_size};
pub use error::CodecError;
pub use history::{decode_ending, encode_ending};
