//! What was decided about a job, and where each part of it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::rule_ref::RuleRef;
use super::settings::Source;
use super::words::{OnTimeout, Scope};
use crate::lock::{Limit, Line, LockName, Mode, Order};

/// What was decided about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The locks to take, no two of one name, in the order in which they were named. None: the job runs without.
    pub locks: Vec<WantedLock>,
    /// The rule that decided; none if no rule matches.
    pub rule: Option<RuleRef>,
    /// Why, in a sentence.
    pub why: String,
    /// The rules before it and why each doesn't match.
    pub passed_over: Vec<PassedOver>,
    /// The end of this job ends its pipeline's holds (`PIPELINE_LOCK_RELEASE: after`). Never true where no lock
    /// is the pipeline's.
    pub release_after: bool,
    /// The pipeline whose holds the job's pipeline shares (`PIPELINE_LOCK_PARENT`), for
    /// [`JobFacts::pipeline_owner`](super::JobFacts::pipeline_owner). None where no lock is the pipeline's.
    pub parent: Option<u64>,
    /// What the job's author should be told, a line each.
    pub notes: Vec<String>,
}

/// A rule that doesn't match a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The rule.
    pub rule: RuleRef,
    /// Why not.
    pub why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.why)
    }
}

/// A lock that a job is to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLock {
    /// Its name.
    pub name: LockName,
    /// How the hold gets on with others.
    pub mode: Mode,
    /// How many holders it admits, itself counted.
    pub limit: Limit,
    /// The names of the lock's slots: the hold in slot n has the n-th, counted from 0. None: they have no names.
    /// There are as many as the limit says, but for a job that takes a shared lock for itself alone
    /// (`PIPELINE_LOCK_MODE: exclusive`): its limit is 1, and all of them are its.
    pub resources: Vec<String>,
    /// Where the job stands among waiters of its priority.
    pub order: Order,
    /// Higher goes first; one of [`PRIORITIES`](crate::lock::PRIORITIES).
    pub priority: i32,
    /// What the job deploys, if a newer pipeline is to make it obsolete while it waits.
    pub line: Option<Line>,
    /// How many may wait for the lock, the job itself counted; none: as many as there is room for.
    pub max_queue: Option<u32>,
    /// How long the job may wait for it. Nothing: it is tried once.
    pub wait: Duration,
    /// What becomes of the job when it has waited so long.
    pub on_timeout: OnTimeout,
    /// Whose the hold is. [`Scope::Pipeline`] only where the facts name the pipeline: there
    /// [`JobFacts::pipeline_owner`](super::JobFacts::pipeline_owner) has an answer.
    pub scope: Scope,
    /// How long a pipeline's hold stays without a job of the pipeline; nothing for a job's.
    pub linger: Duration,
    /// Where these come from.
    pub origins: Origins,
}

impl WantedLock {
    /// The lock as it is taken where nobody says anything about it: exclusive, by one job at a time, first
    /// come, first served.
    pub fn plain(name: LockName, wait: Duration) -> Self {
        Self {
            name,
            mode: Mode::Exclusive,
            limit: Mode::Exclusive.default_limit(),
            resources: Vec::new(),
            order: Order::First,
            priority: 0,
            line: None,
            max_queue: None,
            wait,
            on_timeout: OnTimeout::default(),
            scope: Scope::default(),
            linger: Duration::ZERO,
            origins: Origins::default(),
        }
    }
}

/// Where a setting's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody says anything about it.
    #[default]
    Default,
    /// A key of the file's top level.
    File {
        /// The file.
        source: Source,
        /// The key's line.
        line: u64,
    },
    /// A key of a rule.
    Rule {
        /// The rule.
        rule: RuleRef,
        /// The key's line.
        line: u64,
    },
    /// A variable of the job.
    Variable(&'static str),
}

/// Where the settings of a lock come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Where the setting that the file calls `key` comes from.
    pub fn of(&self, key: &str) -> &Origin {
        self.0.get(key).unwrap_or(&Origin::Default)
    }

    /// Takes down where the value of `key` comes from, and gives back the value.
    pub(super) fn note<T>(&mut self, key: &'static str, (value, origin): (T, Origin)) -> T {
        if origin != Origin::Default {
            self.0.insert(key, origin);
        }
        value
    }
}
