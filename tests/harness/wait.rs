//! Waiting for something to come, with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for `condition`, and fails when it does not come.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// As [`eventually`], with a deadline of its own for the moment at which a look begins: the look itself costs
/// time that is not the product's.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let looked_at = start.elapsed();
        if condition() {
            return looked_at;
        }
        assert!(looked_at < limit, "did not come within {limit:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits until `look` finds something.
#[track_caller]
pub fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut seen = None;
    eventually(what, || {
        seen = look();
        seen.is_some()
    });
    seen.expect("it was just seen")
}
