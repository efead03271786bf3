//! This host's wall clock.

use std::time::SystemTime;

use crate::lock::EpochMs;

/// Now, by this host's wall clock. Never compared with another host's.
pub(super) fn wall_clock() -> EpochMs {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    EpochMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
