//! What is wrong with a stored document.

use thiserror::Error;

/// Why a stored document is not read as a lock.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The item has no `Format`: another program wrote it. Give the lock another name or table, or delete
    /// the item once nothing uses it.
    #[error(
        "the item was written by another program: it has no `Format` attribute. Give this lock \
         another name or table, or delete the item once that program is done with it"
    )]
    Foreign,
    /// An attribute is missing or has the wrong form: something else changed the document. Look at the item
    /// and repair or delete it once no job holds it.
    #[error("the lock's document is damaged: {attribute} {problem}")]
    Damaged {
        /// Which attribute, as a path.
        attribute: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

pub(super) fn damaged(attribute: &str, problem: &'static str) -> CodecError {
    CodecError::Damaged { attribute: attribute.to_owned(), problem }
}
