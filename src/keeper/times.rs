//! The times that a keeper and the stage that watches over it have to agree on.

use std::time::Duration;

/// How much earlier than its lease the processes of a hold that is being lost are to be dead.
pub const BEFORE_THE_LEASE: Duration = Duration::from_secs(1);

/// How long KILL is repeated before it is said what could not be ended.
pub const KILL_LIMIT: Duration = Duration::from_secs(10);
