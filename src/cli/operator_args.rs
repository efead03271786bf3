//! The options of the commands for those who look after the locks, with the help that people read.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{NonEmptyStringValueParser as Said, RangedU64ValueParser},
};

use super::{
    args::{duration, lasting, pair},
    store_args::StoreArgs,
};
use crate::report::clean;

/// `unlock`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock unlock shop/prod                         names who holds it, and asks
  pipeline-lock unlock shop/prod --holder 4711 --yes --force

A hold of `acquire`, a reservation and what the dead left are removed at once. The holder of a running job is asked to \
end: its job is stopped first, then it gives the lock back. One that does not answer is removed when its lease is over, \
and never before. Those who wait keep their places.")]
pub struct UnlockArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock
    pub name: String,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
    /// With --yes: also where that ends a running job
    #[arg(long)]
    pub force: bool,
    /// Only this hold, by its token or its job's id [default: all]
    #[arg(long, value_name = "TOKEN|JOB")]
    pub holder: Option<String>,
    /// Wait at most this long for a running job to end [default: its lease and half a minute]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub wait: Option<Duration>,
}

/// `reserve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock reserve shop/prod --reason 'database moves to the new host' --for 4h
  pipeline-lock release --name shop/prod                 ends one's own reservation
  pipeline-lock release --name shop/prod --reservation   ends anybody's

Who holds the lock goes on; after that nobody gets it until the reservation ends. Jobs that wait show the reason. \
A second reservation replaces the first.")]
pub struct ReserveArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock; it need not exist yet
    pub name: String,
    /// Why, for those who wait
    #[arg(long, value_parser = reason, value_name = "TEXT")]
    pub reason: String,
    /// The reservation ends by itself after this time
    #[arg(long = "for", value_parser = lasting, value_name = "TIME", default_value = "2h")]
    pub lasting: Duration,
}

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock list --held --older-than 1h
  pipeline-lock list --prefix gitlab.example/shop/ --json")]
pub struct ListArgs {
    /// Where the locks are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only locks whose names begin so
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only locks that somebody holds
    #[arg(long)]
    pub held: bool,
    /// Only locks that somebody waits for
    #[arg(long)]
    pub waiting: bool,
    /// Only locks that somebody has held for longer than this
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub older_than: Option<Duration>,
    /// For programs: as `status --json`
    #[arg(long)]
    pub json: bool,
}

/// `history`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock history shop/prod
  pipeline-lock history shop/prod -n 3 --json

The last 64 holds are kept, each for 30 days at least. How one ended:
  released  its holder gave it back
  revoked   somebody asked for its end, and its holder gave it back
  lost      its holder could not prove any more that it held, and stopped its work
  evicted   its holder was dead or silent, and somebody else removed it
  forced    somebody took it by force
  expired   its time was over")]
pub struct HistoryArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock
    pub name: String,
    /// Show at most so many, the newest first
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub number: usize,
    /// For programs; times are in milliseconds
    #[arg(long)]
    pub json: bool,
}

/// `watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock watch                             all locks, on a terminal as a picture that changes (q ends it)
  pipeline-lock watch shop/prod | tee log         a line for each change
  pipeline-lock watch --prefix shop/ --json       the same for programs

What comes and goes between two looks is not seen; it is told how much that was.")]
pub struct WatchArgs {
    /// Where the locks are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// One lock [default: all]
    pub name: Option<String>,
    /// Only locks whose names begin so
    #[arg(long, value_name = "TEXT", conflicts_with = "name")]
    pub prefix: Option<String>,
    /// From one look to the next
    #[arg(long, value_parser = interval, value_name = "TIME", default_value = "2s")]
    pub interval: Duration,
    /// For programs: an object for each change, a line each
    #[arg(long)]
    pub json: bool,
}

/// `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock explain                                       in a job: which lock it gets, and why
  pipeline-lock explain --project shop/web --ref main --environment production
  pipeline-lock explain --project shop/web --var PIPELINE_LOCK=eu
  pipeline-lock explain --job-json response.json --json

Outside of a CI job, what is not said is as in `try`: the instance try.localhost, the ref main, not protected. \
--var CI_SERVER_HOST=HOST and --var CI_COMMIT_REF_PROTECTED=true say otherwise. Nothing is taken or written.")]
pub struct ExplainArgs {
    /// The project that the job is of
    #[arg(long, value_parser = Said::new(), value_name = "PATH", conflicts_with = "job_json")]
    pub project: Option<String>,
    /// The job's branch or tag
    #[arg(long = "ref", value_name = "REF", conflicts_with = "job_json")]
    pub git_ref: Option<String>,
    /// The job's environment
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// A CI variable of the job
    #[arg(long = "var", value_parser = pair, value_name = "NAME=VALUE")]
    pub variables: Vec<(String, String)>,
    /// The job as the runner hands it over (JOB_RESPONSE_FILE)
    #[arg(long, value_name = "FILE")]
    pub job_json: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// Why a lock is reserved, as it can be printed.
fn reason(text: &str) -> Result<String, String> {
    match clean(text.trim()) {
        reason if reason.is_empty() => Err("say why, for those who will wait".into()),
        reason => Ok(reason.into_owned()),
    }
}

/// The time between two looks: each of them asks the store.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    match duration(text)? {
        time if time < SHORTEST => Err("that would ask the store without a pause: 100ms or more".into()),
        time => Ok(time),
    }
}
