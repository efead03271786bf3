//! Since when a hold is held, by the store's clock: `--force-after` judges its age by that, and no other host's.

use std::time::Duration;

use tracing::{debug, info};

use super::{Client, hold::Grant};
use crate::lock::{EpochMs, LockName};

/// How far this host's wall clock and the store's may differ before it is written anew: the store's is known to the
/// second.
const SKEW: Duration = Duration::from_secs(2);

/// A first write comes before any reply of the store, so it has this host's time. Where that turns out to differ, one
/// more write puts it right. A failure is no harm to the hold, whose age alone is wrong then.
pub(super) async fn by_the_stores_clock(client: &Client, name: &LockName, grant: &mut Grant) {
    let now = client.store.now();
    let token = grant.request.token;
    let is_right = |since| apart(since, now) <= SKEW.saturating_add(grant.waited);
    let written = grant.state.holder(token).map(|holder| holder.since);
    if apart(client.clock.wall(), now) <= SKEW || written.is_none_or(is_right) {
        return;
    }
    info!(lock = %name, "this host's clock and the store's differ by {:?}", apart(client.clock.wall(), now));
    let known = Some(grant.state.clone());
    let written = client.change(name, known, |state| {
        let holder = state.holders.iter_mut().find(|h| h.token == token);
        holder.is_some_and(|holder| std::mem::replace(&mut holder.since, now) != now)
    });
    match written.await {
        // Gone already: the next renewal says so.
        Ok(Some(state)) if state.holder(token).is_some() => grant.state = state,
        Ok(_) => {}
        Err(error) => debug!(%error, "since when the lock is held is told by this host's clock"),
    }
}

fn apart(one: EpochMs, other: EpochMs) -> Duration {
    one.since(other).max(other.since(one))
}
