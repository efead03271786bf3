//! The tree of commands and options, with the help that people read.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser as Said};

pub use super::operator_args::{ExplainArgs, HistoryArgs, ListArgs, ReserveArgs, UnlockArgs, WatchArgs};
use super::{manner_args::MannerArgs, store_args::StoreArgs};
use crate::{config::parse_duration, keeper::TOKEN_VARIABLE, lock::Token};

const EXAMPLES: &str = "\
Examples:
  pipeline-lock try -- ./deploy.sh              run a script as a GitLab job under its lock, without a GitLab
  pipeline-lock exec --name shop/prod -- make deploy
  pipeline-lock status shop/prod
  pipeline-lock unlock shop/prod                names who holds it, and asks
  pipeline-lock table create --table locks      once, for a fleet of runners

Exit codes:
  0        done
  1        the lock was not got: it is held, or the wait limit is over; unlock: somebody still holds it
  2        wrong usage; unlock: nobody can be asked, and --yes or --force was not given
  3        the configuration or the store can't be used, or what is asked for makes no sense
  4        exec: the lock was lost, and the command was ended
  5        a newer pipeline goes first: this one's work is obsolete (a rule with `supersede`)
  126,127  exec: the command can't be run, or was not found
  128+N    ended by signal N; exec: the command was
  exec ends with its command's own code otherwise; the executor's stages end with the codes that the runner gives them.";

/// Locks for CI jobs: a GitLab Runner custom executor, a command line and a library.
///
/// One host needs no set-up; a fleet of runners shares a DynamoDB table.
#[derive(Debug, Parser)]
#[command(name = "pipeline-lock", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// The configuration file [default: $PIPELINE_LOCK_CONFIG, /etc/pipeline-lock/config.yaml,
    /// ~/.config/pipeline-lock/config.yaml, or the built-in one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The four stages that GitLab Runner calls (see config.toml's [runners.custom])
    #[command(subcommand)]
    Executor(Stage),
    /// Take a lock and leave it taken: for a job that locks and another that releases
    Acquire(AcquireArgs),
    /// Give back what `acquire` took
    Release(ReleaseArgs),
    /// Run a command under a lock, which is given back whatever becomes of the command
    Exec(ExecArgs),
    /// Who holds the locks, and who waits
    Status(StatusArgs),
    /// All locks, a line each
    List(ListArgs),
    /// How the last holds of a lock ended
    History(HistoryArgs),
    /// Follow the locks as they change hands
    Watch(WatchArgs),
    /// Which lock a job gets, by which rule, and why
    Explain(ExplainArgs),
    /// End a hold: of a job that runs (which is ended first), of `acquire`, of the dead
    Unlock(UnlockArgs),
    /// Keep a lock from everyone for a while, for maintenance
    Reserve(ReserveArgs),
    /// The DynamoDB table
    #[command(subcommand)]
    Table(TableCommand),
    /// Run a command through the four stages as the runner would, and show its job log
    Try(TryArgs),
    /// The process that owns a job's locks and processes; started by the other commands
    #[command(hide = true)]
    Keeper {
        /// The beginning of the job's token, for people.
        token: String,
    },
    /// Watches over what a job's script left behind; started by the run stage
    #[command(hide = true)]
    Sentinel {
        /// The job's token, which is on no command line: everybody sees those.
        #[arg(long, env = TOKEN_VARIABLE, hide_env_values = true)]
        token: Token,
        /// The state folder.
        state: PathBuf,
        /// From TERM to KILL, in milliseconds.
        kill_grace: u64,
        /// The cgroup of the job.
        cgroup: Option<PathBuf>,
    },
}

/// A stage of the custom executor.
#[derive(Debug, Subcommand)]
pub enum Stage {
    /// Tells the runner about this driver
    Config,
    /// Gets the job's locks
    Prepare,
    /// Runs one script of the job
    Run {
        /// The script that the runner wrote
        script: PathBuf,
        /// The stage's name
        stage: String,
    },
    /// Ends the job and gives its locks back
    Cleanup,
}

/// `acquire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock acquire --table locks                  in a job: the lock that the file's rules give it
  pipeline-lock acquire --name shop/prod --wait 10m --ttl 3600
  pipeline-lock acquire --name lab/boards --limit 2    one of two places: PIPELINE_LOCK_SLOT says which

In CI the pipeline is the owner: another job of it may release the lock, and a second job's acquire joins the hold. \
Without --name the file's rules and the job's PIPELINE_LOCK_... variables say which locks, and how they are taken. \
The hold ends by itself after --ttl. On success the fencing number is printed as PIPELINE_LOCK_FENCE=N.")]
pub struct AcquireArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock; several are taken all at once [default: those that the file's rules give this CI job]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// How it is taken.
    #[command(flatten)]
    pub manner: MannerArgs,
    /// Wait at most this long: 0, 30s, 10m, 2h [default: the rule's or the file's `wait`]
    #[arg(long, value_parser = duration, value_name = "TIME", conflicts_with = "max_retries")]
    pub wait: Option<Duration>,
    /// With --max-retries: the wait limit is their product. Polling itself is adaptive
    #[arg(long, value_parser = duration, value_name = "SECONDS", default_value = "5")]
    pub retry_interval: Duration,
    /// Wait at most this many retry intervals
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
    /// Take a hold of an earlier `acquire` that is older than this; ask a running job's hold of that age to end. Its
    /// age is told by the store's clock, to 3 seconds
    #[arg(long, value_parser = duration, value_name = "SECONDS")]
    pub force_after: Option<Duration>,
    /// The hold ends by itself after this time
    #[arg(long, value_parser = lasting, value_name = "SECONDS", default_value = "2h")]
    pub ttl: Duration,
    /// The hold never ends by itself
    #[arg(long, conflicts_with = "ttl")]
    pub disable_ttl: bool,
}

/// `release`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock release --name shop/prod                 what this user's `acquire` or `reserve` took
  pipeline-lock release --name shop/prod --reservation   anybody's reservation

In CI a job that took a part of the pipeline's hold itself gives back that part; any other gives back all that the \
pipeline's `acquire` jobs took. What the pipeline has left standing between its jobs (`scope: pipeline`) ends with it. \
What a running job or `exec` holds stays.")]
pub struct ReleaseArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock; may be given several times [default: those that the file's rules give this CI job]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// End the lock's reservation, whoever made it
    #[arg(long)]
    pub reservation: bool,
}

/// `exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock exec --name shop/prod -- make deploy
  pipeline-lock exec --name shop/prod --name shop/database -- make migrate     both, all at once
  pipeline-lock exec --name shop/database --shared -- make report              beside other shared holds
  pipeline-lock exec --name lab/boards --limit 2 -- sh -c 'flash board-$PIPELINE_LOCK_SLOT'

The command finds its locks in PIPELINE_LOCK_NAME, _FENCE and _SLOT: lists with commas, in the order of the names. \
A lock that this job's executor, its own `acquire` or an `exec` around it holds already is not taken again.")]
pub struct ExecArgs {
    /// Where the lock is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The lock; several are taken all at once [default: those that the file's rules give this CI job]
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// How it is taken.
    #[command(flatten)]
    pub manner: MannerArgs,
    /// Wait at most this long: 0, 30s, 10m, 2h [default: the rule's or the file's `wait`]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub wait: Option<Duration>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the locks are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// One lock [default: all that are held or awaited]
    pub name: Option<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `table`.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Make the table (on-demand billing, TTL on ExpiresAt) and wait until it can be used; one that is there is looked at, and gets the TTL if it has none
    Create {
        /// Which table.
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// `try`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipeline-lock try -- echo hello
  pipeline-lock try --project shop/web --job deploy -- ./deploy.sh
Start the same twice in two terminals to see the second one wait.")]
pub struct TryArgs {
    /// The project that the job is of
    #[arg(long, default_value = "try/project", value_parser = Said::new(), value_name = "PATH")]
    pub project: String,
    /// The job's name
    #[arg(long, default_value = "try", value_parser = Said::new(), value_name = "NAME")]
    pub job: String,
    /// A CI variable of the job
    #[arg(long = "variable", value_parser = pair, value_name = "NAME=VALUE")]
    pub variables: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// A variable and its value.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".into()),
    }
}

/// How long something that nobody watches over is to stand.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
    match duration(text)? {
        Duration::ZERO => Err("that would be over at once".into()),
        time if time > LONGEST => Err("that is longer than ten years".into()),
        time => Ok(time),
    }
}

/// A number of seconds, as the predecessor took it, or a time with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text).map_err(|error| error.to_string()),
    }
}
