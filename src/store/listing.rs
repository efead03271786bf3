//! Which documents a list shows.

use crate::lock::{CodecError, LockName, LockState};

/// The lock, if its document is one. A table may have items of other programs, and one that is damaged does
/// not hide the others: it is told in this program's log, and whoever asks for that lock gets the error.
pub(super) fn listed(name: LockName, state: Result<LockState, CodecError>) -> Option<(LockName, LockState)> {
    match state {
        Ok(state) => return Some((name, state)),
        Err(CodecError::Foreign) => tracing::debug!(%name, "left out of the list: another program's item"),
        Err(error) => tracing::warn!(%name, "left out of the list: {error}"),
    }
    None
}
