//! What the stages and the keeper say to each other: JSON in frames over a unix socket, file descriptors
//! beside them.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus, time::Duration};

use serde::{Deserialize, Serialize};

use super::wish::LockWish;
use crate::{
    client::Progress,
    config::{Driver, OnLost, Orphan, StoreConfig, Survivors},
    host::{process::ProcId, user::User},
    lock::{LockName, Owner, Token, Who},
};

/// The version of the protocol. A stage and a keeper of different versions (an upgrade while a job ran)
/// refuse each other clearly, except that every keeper understands [`Ask::End`]. For that, `ask` and `version` stay as
/// they are in every version; fields that are unknown are passed over.
pub const VERSION: u32 = 1;

/// What a keeper is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The protocol that the starting stage speaks.
    pub version: u32,
    /// The job's incarnation, the same for all of its locks.
    pub token: Token,
    /// On whose behalf.
    pub owner: Owner,
    /// Who it is, for those who wait behind.
    pub who: Who,
    /// The locks, in the order in which they are taken.
    pub locks: Vec<LockWish>,
    /// On whose behalf other locks may be held: the job's pipeline.
    pub pipeline: Option<Owner>,
    /// On whose behalf else: those under whom an `exec` runs.
    #[serde(default)]
    pub beside: Vec<Owner>,
    /// How many jobs of this host may wait at once.
    pub max_waiting: Option<u32>,
    /// An older try of the same job on this host, whose processes are dead.
    pub replaces: Option<Token>,
    /// Where the locks are.
    pub store: StoreConfig,
    /// The state folder.
    pub state: PathBuf,
    /// How the keeper does its work.
    pub terms: Terms,
    /// The runner: its end is noticed. `None` where it could not be told for sure.
    pub runner: Option<ProcId>,
    /// The runner's folder of this job; when it is gone, so is the job.
    pub tmpdir: Option<PathBuf>,
    /// The job's own time limit.
    pub job_timeout: Option<Duration>,
    /// How the job's scripts are run; none: what a stage asks for is a whole command.
    pub scripts: Option<Scripts>,
    /// The driver that does the job's work, if not a shell does. Its cleanup comes beside the launch, as a
    /// [`super::command::CommandBlock`] to be read from a descriptor.
    pub driver: Option<Driver>,
    /// A command of a terminal (`exec`): it stays in the terminal's session and process group.
    pub in_session: bool,
}

/// How scripts are run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scripts {
    /// The shell, with its arguments; none: the one that fits the script.
    pub shell: Option<Vec<String>>,
    /// The words of a command that runs the shell, maybe none.
    pub prefix: Vec<String>,
    /// As whom; none: as the keeper's own user.
    pub user: Option<User>,
}

/// How the keeper does its work, as the file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// How long a hold outlives its last renewal.
    pub lease: Duration,
    /// From one renewal to the next.
    pub heartbeat: Duration,
    /// From TERM to KILL when a hold is being lost.
    pub kill_grace: Duration,
    /// What becomes of processes that outlive the job.
    pub survivors: Survivors,
    /// What becomes of a job whose hold is being lost.
    #[serde(default)]
    pub on_lost: OnLost,
    /// What becomes of a job whose runner is gone.
    pub orphan: Orphan,
    /// Whether the locks' histories are kept.
    pub history: bool,
}

/// What a stage asks of the keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// prepare: leave the queue, or give back what was got.
    Leave,
    /// run: start this. Beside it come the descriptors for the command's standard output and error, and one to
    /// read a [`super::command::CommandBlock`] from.
    Run {
        /// The protocol that the stage speaks.
        version: u32,
        /// The stage's name, for messages.
        #[serde(default)]
        stage: String,
    },
    /// run: pass a signal on to the command's process group.
    Signal {
        /// Its number.
        number: i32,
    },
    /// cleanup: the job is over; end what survives, give the locks back, and end. A wrapped driver's cleanup comes
    /// before that: beside this there may be a [`super::command::CommandBlock`] of it, with the environment of this
    /// very stage, and descriptors for its standard output and error.
    End,
    /// A sentinel: it watches over the job until the keeper is gone.
    Watch,
    /// A new try of the same job takes over: end the processes, leave holds and places to it, and end.
    Yield,
}

/// What the keeper says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub enum Tell {
    /// Where a request stands.
    News(Progress),
    /// All locks are held; the job may begin.
    Ready {
        /// What was got.
        locks: Vec<Got>,
    },
    /// A lock was not got.
    Failed {
        /// Why, for people.
        message: String,
        /// Whether the store or this host failed, rather than that others have the lock: the runner tries again.
        ours: bool,
        /// Whether the job is not to be tried again by this runner.
        #[serde(default)]
        last: Last,
    },
    /// What was asked is done.
    Done,
    /// The command runs.
    Started {
        /// Its process, which leads its process group (but for `exec`).
        process: ProcId,
        /// The cgroup of the job, if it has one.
        cgroup: Option<PathBuf>,
        /// From TERM to KILL when a hold is being lost.
        kill_grace: Duration,
    },
    /// Something that the job's log should say.
    Notice {
        /// The text.
        message: String,
        /// Whether it is good news.
        #[serde(default)]
        calm: bool,
    },
    /// The command has ended.
    Exited {
        /// Its exit code, or 128 and the signal that ended it.
        code: i32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// Why the job must not go on, if so.
        lost: Option<String>,
        /// Whether processes of the job live on that nobody but the keeper watches over.
        #[serde(default)]
        left: bool,
    },
    /// What was asked can't be done.
    Refused {
        /// Why, and the way out.
        message: String,
        /// Whether there is no such command.
        is_missing: bool,
    },
    /// The job is over, and this became of its locks and processes.
    Ended(Farewell),
}

/// What follows from a lock that was not got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Last {
    /// Nothing special.
    #[default]
    No,
    /// The job is to start anew by GitLab's `retry:`, on whatever runner, and this runner is to try no more.
    Requeue,
    /// A newer pipeline has made the job obsolete.
    Obsolete,
}

/// One lock that was got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Got {
    /// The lock.
    pub name: LockName,
    /// Its fencing number.
    pub fence: u64,
    /// How long it was waited for.
    pub waited: Duration,
    /// Which of its places it has, where there are several.
    #[serde(default)]
    pub place: Option<String>,
}

/// What became of a job's processes and locks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Farewell {
    /// The locks that were given back.
    pub released: Vec<LockName>,
    /// Those that stand for a while, for the pipeline's next job.
    #[serde(default)]
    pub kept: Vec<LockName>,
    /// Those that could not be, and why.
    pub failed: Vec<String>,
    /// How many processes had to be ended.
    pub ended: usize,
    /// The names of some of them.
    pub names: Vec<String>,
    /// How many could not be ended: while they live, the locks stay.
    pub left: usize,
    /// The place in the queue is kept for a moment, for a retry.
    pub parked: bool,
    /// What became of the wrapped driver's cleanup, if it has one and it was due.
    pub cleaned: Option<Cleaned>,
}

impl Farewell {
    /// Whether there was no lock to give back, nor a place to keep.
    pub const fn is_empty_handed(&self) -> bool {
        self.released.is_empty() && self.kept.is_empty() && self.failed.is_empty() && !self.parked
    }
}

/// What became of a wrapped driver's cleanup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleaned {
    /// It ended with this code.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
    /// It took longer than it may and was ended.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
}

impl Cleaned {
    /// How a command ended.
    pub fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}
