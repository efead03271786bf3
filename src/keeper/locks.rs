//! A job's locks: asked for together, and told of.

use std::time::Duration;

use super::{
    protocol::{Got, Last, Launch},
    wish::LockWish,
};
use crate::{
    client::{AcquireError, Client, Hold, Progress, Several},
    config::OnTimeout,
};

/// Asks for every lock of `launch`; `news` hears how it goes.
pub(super) async fn acquire(
    client: Client,
    launch: Launch,
    news: impl Fn(Progress) + Send + Sync,
) -> Several {
    let wishes = launch.locks.iter().map(|wish| wish.for_client(&client, &launch)).collect();
    client.acquire_all(wishes, news).await
}

/// What was got, to be told.
pub(super) fn got(holds: &[Hold], wishes: &[LockWish]) -> Vec<Got> {
    let one = |hold: &Hold| Got {
        name: hold.name().clone(),
        fence: hold.fence().0,
        waited: rounded(hold.waited()),
        place: wish_of(hold, wishes).and_then(|wish| wish.place(hold.slot())),
    };
    holds.iter().map(one).collect()
}

/// What follows from a lock that was not got.
pub(super) fn last(failure: &AcquireError, wishes: &[LockWish]) -> Last {
    let requeues =
        || wishes.iter().any(|wish| wish.on_timeout == OnTimeout::Requeue && wish.name == *failure.name());
    match failure {
        AcquireError::Obsolete { .. } => Last::Obsolete,
        AcquireError::TimedOut { .. }
        | AcquireError::Busy { .. }
        | AcquireError::OutOfOrder { .. }
        | AcquireError::Crowded { .. }
        | AcquireError::QueueFull { .. }
            if requeues() =>
        {
            Last::Requeue
        }
        _ => Last::No,
    }
}

/// What a command can read of its locks: each a list, in the order of the locks' names.
pub(super) fn variables(holds: &[Hold], wishes: &[LockWish]) -> Vec<(&'static str, String)> {
    if holds.is_empty() {
        return Vec::new();
    }
    let joined = |one: &dyn Fn(&Hold) -> String| holds.iter().map(one).collect::<Vec<_>>().join(",");
    let resource =
        |hold: &Hold| wish_of(hold, wishes).and_then(|wish| wish.resource(hold.slot())).unwrap_or_default();
    let mut variables = vec![
        ("PIPELINE_LOCK_NAME", joined(&|hold| hold.name().to_string())),
        ("PIPELINE_LOCK_FENCE", joined(&|hold| hold.fence().to_string())),
        ("PIPELINE_LOCK_SLOT", joined(&|hold| hold.slot().to_string())),
    ];
    if holds.iter().any(|hold| !resource(hold).is_empty()) {
        variables.push(("PIPELINE_LOCK_RESOURCE", joined(&|hold| resource(hold).to_owned())));
    }
    variables
}

fn wish_of<'a>(hold: &Hold, wishes: &'a [LockWish]) -> Option<&'a LockWish> {
    wishes.iter().find(|wish| wish.name == *hold.name())
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
