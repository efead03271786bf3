//! A job's locks: asked for together, and told of.

use std::time::Duration;

use super::{
    protocol::{Got, Last, Launch},
    wish::LockWish,
};
use crate::{
    client::{AcquireError, AcquireOptions, Client, Hold, Progress, Several, Wish, live_term},
    config::{FOR_SCRIPTS, OnTimeout},
    lock::Request,
};

/// Asks for every lock of `launch`; `news` hears how it goes.
pub(super) async fn acquire(
    client: Client,
    launch: Launch,
    news: impl Fn(Progress) + Send + Sync,
) -> Several {
    let wishes = launch.locks.iter().map(|wish| for_client(wish, &client, &launch)).collect();
    client.acquire_all(wishes, news).await
}

/// A lock that the job wants, as the client is asked for it.
fn for_client(wish: &LockWish, client: &Client, launch: &Launch) -> Wish {
    let owner = wish.pipeline.clone().unwrap_or_else(|| launch.owner.clone());
    Wish {
        name: wish.name.clone(),
        request: Request {
            replaces: launch.replaces,
            mode: wish.mode,
            limit: wish.limit,
            priority: wish.priority,
            order: wish.order,
            line: wish.line.clone(),
            max_queue: wish.max_queue,
            who: launch.who.clone(),
            ..Request::new(owner, launch.token, live_term(client, launch.terms.lease))
        },
        options: AcquireOptions {
            wait: wish.wait,
            heartbeat: Some(launch.terms.heartbeat),
            parting: wish.parting(),
            max_waiting: launch.max_waiting,
            beside: launch.pipeline.iter().chain(&launch.beside).cloned().collect(),
        },
    }
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
    let [name, fence, slot, resources] = FOR_SCRIPTS;
    let mut variables = vec![
        (name, joined(&|hold| hold.name().to_string())),
        (fence, joined(&|hold| hold.fence().to_string())),
        (slot, joined(&|hold| hold.slot().to_string())),
    ];
    if holds.iter().any(|hold| !resource(hold).is_empty()) {
        variables.push((resources, joined(&|hold| resource(hold).to_owned())));
    }
    variables
}

fn wish_of<'a>(hold: &Hold, wishes: &'a [LockWish]) -> Option<&'a LockWish> {
    wishes.iter().find(|wish| wish.name == *hold.name())
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
