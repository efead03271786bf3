//! A job's locks, asked for one after the other in the order of the launch.

use std::time::Duration;

use super::protocol::{Got, Launch};
use crate::{
    client::{AcquireError, AcquireOptions, Client, Hold, Progress, live_term},
    lock::{EpochMs, Mode, Request},
};

/// What became of the requests.
pub(super) struct Acquired {
    /// The locks that are held.
    pub(super) holds: Vec<Hold>,
    /// Why the next one was not got.
    pub(super) failure: Option<AcquireError>,
}

/// Asks for every lock of `launch`; `news` hears how it goes.
pub(super) async fn acquire(
    client: Client,
    launch: Launch,
    news: impl Fn(Progress) + Send + Sync,
) -> Acquired {
    let mut holds = Vec::with_capacity(launch.locks.len());
    let mut failure = None;
    for wish in &launch.locks {
        let request = Request {
            owner: launch.owner.clone(),
            token: launch.token,
            replaces: launch.replaces,
            mode: Mode::Exclusive,
            limit: Mode::Exclusive.default_limit(),
            priority: 0,
            order: crate::lock::Order::First,
            line: None,
            max_queue: None,
            term: live_term(&client, launch.terms.lease),
            who: launch.who.clone(),
            since: EpochMs(0),
            force_after: None,
        };
        let options = AcquireOptions { wait: wish.wait, heartbeat: Some(launch.terms.heartbeat) };
        match client.acquire(&wish.name, request, options, &news).await {
            Ok(hold) => holds.push(hold),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    Acquired { holds, failure }
}

/// What was got, to be told.
pub(super) fn got(holds: &[Hold]) -> Vec<Got> {
    let one = |hold: &Hold| Got {
        name: hold.name().clone(),
        fence: hold.fence().0,
        waited: rounded(hold.waited()),
    };
    holds.iter().map(one).collect()
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
