//! What the stores' histories have in common.

use std::time::Duration;

use crate::lock::{CodecError, Ending, EpochMs, LockName, Map, codec};

/// How long an ending is kept at least, if no later one takes its place: as long as a lock that is not used.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// When an ending that is recorded at `now` may be deleted, in epoch seconds.
pub(super) const fn expiry(now: EpochMs) -> u64 {
    now.0 / 1000 + KEPT.as_secs()
}

/// The endings of `name`, the newest first. One that can't be read does not hide the others.
pub(super) fn newest_first(
    name: &LockName,
    stored: impl IntoIterator<Item = Result<Map, CodecError>>,
) -> Vec<Ending> {
    let decoded = stored.into_iter().map(|map| map.and_then(codec::decode_ending));
    let mut endings: Vec<Ending> = decoded
        .filter_map(|ending| {
            ending.inspect_err(|error| tracing::warn!(%name, "left out of the history: {error}")).ok()
        })
        .collect();
    endings.sort_by_key(|ending| std::cmp::Reverse(ending.fence));
    endings
}
