//! The pure core: a lock is a document, an operation is a function from document to document. No I/O, no
//! clock, no randomness.

mod name;

pub use name::{LockName, MAX_NAME_BYTES, NameError};
