//! `acquire`: a hold without a process, for a job that locks and another that releases.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::{
    Exit,
    args::AcquireArgs,
    here_job::{HereJob, executor_token, lock_name, who_outside},
    main::runtime,
    static_note::{self, Note},
};
use crate::report;
use crate::{
    client::{AcquireError, AcquireOptions, Client, Hold, humane},
    config::Config,
    lock::{EpochMs, LockName, LockState, Mode, Owner, Request, Term, Token},
    report::{JobLog, clock_time},
};

/// Takes the lock.
pub fn run(args: &AcquireArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let name = lock_name(args.name.as_deref(), job.as_ref(), config)?;
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        let exit = acquire(&client, &name, args, job.as_ref(), config).await;
        client.recorded().await;
        exit
    })
}

async fn acquire(
    client: &Client,
    name: &LockName,
    args: &AcquireArgs,
    job: Option<&HereJob>,
    config: &Config,
) -> anyhow::Result<Exit> {
    let mut log = JobLog::new(std::io::stderr(), job.is_some());
    if executor_token().is_some()
        && let Some(state) = client.look(name).await?
        && let Some(by) = held_by_own_job(&state, job)
    {
        log.note(&format!("lock {name} is held already by {by}; acquire has nothing to do"));
        return Ok(Exit::Done);
    }
    let token = Token::new(Uuid::new_v4());
    let request = request(args, job, token, client);
    let owner = request.owner.clone();
    let options = AcquireOptions::waiting(wait(args, config));
    let acquiring = client.acquire(name, request, options, |news| log.progress(&news));
    let got = tokio::select! {
        got = acquiring => got,
        number = end_signal() => {
            log.note("told to end while waiting: the queue is left");
            client.withdraw(name, token).await?;
            client.take_back_late(name, token, LATE).await;
            return Ok(Exit::Code(128 + number));
        }
    };
    match got {
        Ok(hold) => {
            let settled = settle(client, name, &hold, args).await.and_then(|until| {
                static_note::write(&config.state, Note::Acquired, name, owner.as_str())?;
                Ok(until)
            });
            let until = match settled {
                Ok(until) => until,
                Err(error) => {
                    client.withdraw(name, token).await?;
                    return Err(error);
                }
            };
            say_acquired(&mut log, &hold, until);
            Ok(Exit::Done)
        }
        Err(error) => {
            if matches!(error, AcquireError::Store { .. }) {
                let _ = tokio::time::timeout(Duration::from_secs(5), client.withdraw(name, token)).await;
            }
            client.take_back_late(name, token, LATE).await;
            log.failure(&error.to_string());
            Ok(Exit::of(&error))
        }
    }
}

fn say_acquired(log: &mut JobLog<std::io::Stderr>, hold: &Hold, until: Option<EpochMs>) {
    log.acquired(hold.name().as_str(), hold.fence().0, None, hold.waited());
    log.note(&until.map_or_else(
        || "the hold never ends by itself: release it".to_owned(),
        |at| format!("the hold ends by itself at {}", clock_time(at)),
    ));
    report::say(&format!("PIPELINE_LOCK_FENCE={}", hold.fence()));
}

/// How long a hold is looked for that a write without an answer may bring after its request was given up: it would
/// be one that nobody knows of.
const LATE: Duration = Duration::from_secs(10);

fn wait(args: &AcquireArgs, config: &Config) -> Duration {
    match (args.wait, args.max_retries) {
        (Some(wait), _) => wait,
        (None, Some(retries)) => args.retry_interval.saturating_mul(retries),
        (None, None) => config.wait,
    }
}

fn request(args: &AcquireArgs, job: Option<&HereJob>, token: Token, client: &Client) -> Request {
    let until = (!args.disable_ttl).then(|| client.store().now().plus(args.ttl));
    Request {
        owner: job.and_then(HereJob::pipeline).unwrap_or_else(|| Owner::alone(token)),
        token,
        replaces: None,
        mode: Mode::Exclusive,
        limit: Mode::Exclusive.default_limit(),
        priority: 0,
        order: crate::lock::Order::First,
        line: None,
        max_queue: None,
        term: Term::Static { until },
        who: job.map_or_else(|| who_outside("acquire"), HereJob::who),
        since: EpochMs(0),
        force_after: args.force_after,
    }
}

/// The job's own executor (or its pipeline) holds the lock: who, in words.
fn held_by_own_job(state: &LockState, job: Option<&HereJob>) -> Option<String> {
    let token = executor_token()?;
    if state.holder(token).is_some() {
        return Some("this job's own executor".into());
    }
    let owner = job?.owner();
    state.holders.iter().any(|h| h.owner == owner).then(|| "this job".into())
}

/// How far the clocks may differ before the end of a hold is written anew.
const SKEW: Duration = Duration::from_secs(2);

/// The end of a static hold is judged by the store's clock, which is known only from its reply: if this
/// host's differs, the end is written again.
async fn settle(
    client: &Client,
    name: &LockName,
    hold: &Hold,
    args: &AcquireArgs,
) -> anyhow::Result<Option<EpochMs>> {
    if args.disable_ttl {
        return Ok(None);
    }
    let right = client.store().now().plus(args.ttl);
    let mut until = right;
    client
        .change(name, Some(hold.known()), |state| {
            let holder = state.holders.iter_mut().find(|h| h.token == hold.token());
            let Some(Term::Static { until: Some(written) }) = holder.map(|h| &mut h.term) else {
                return false;
            };
            if right.since(*written).max(written.since(right)) <= SKEW {
                until = *written;
                return false;
            }
            tracing::info!(
                skew = humane(right.since(*written).max(written.since(right))),
                "the clocks differ"
            );
            *written = right;
            true
        })
        .await?;
    Ok(Some(until))
}

/// The number of the signal that asks this process to end.
pub(super) async fn end_signal() -> u8 {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => 15,
        _ = int.recv() => 2,
    }
}
