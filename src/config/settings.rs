//! The configuration as a whole: its keys, their defaults, and what has to be true between them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::driver::Driver;
use super::environment::Environment;
use super::error::{ConfigError, Fault, Place, Problem};
use super::manner::{WAIT_BOUNDS, WAITING_BOUNDS};
use super::reader::{Item, KeyLines, Schema, Section};
use super::rule::{RULE, Rule};
use super::store::StoreConfig;
use super::words::{OnLost, OnTimeout, Orphan, Survivors};
use super::yaml::{self, Value};

/// The configuration file that explains every key, with all defaults. Parsing it gives the built-in default.
pub const DEFAULT_FILE: &str = include_str!("../../executor-config/pipeline-lock.yaml");

/// What the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from.
    pub source: Source,
    /// Where the locks are kept.
    pub store: StoreConfig,
    /// The folder of the keeper's state, absolute.
    pub state: PathBuf,
    /// How long a hold lasts without renewal.
    pub lease: Duration,
    /// The time between two renewals.
    pub heartbeat: Duration,
    /// How long a job may wait for its locks, unless its rule says otherwise.
    pub wait: Duration,
    /// What becomes of a job that has waited so long, unless its rule says otherwise.
    pub on_timeout: OnTimeout,
    /// How many jobs of this host may wait at once; none: any number.
    pub max_waiting: Option<u32>,
    /// What becomes of a running job whose hold is being lost.
    pub on_lost: OnLost,
    /// Whether it is kept for each lock who held it last, and how that ended.
    pub history: bool,
    /// The time from TERM to KILL when a job has to be stopped.
    pub kill_grace: Duration,
    /// The command that runs the job's scripts, never empty; none: the one that fits the script.
    pub shell: Option<Vec<String>>,
    /// The words of a command that runs the shell, maybe none.
    pub prefix: Vec<String>,
    /// The user as whom the scripts run; none: the runner's own.
    pub run_as: Option<String>,
    /// The driver that does the jobs' work in the place of a shell.
    pub driver: Option<Driver>,
    /// What becomes of processes that a job leaves behind.
    pub survivors: Survivors,
    /// What becomes of a running job whose runner has died.
    pub orphan: Orphan,
    /// The folder for builds, absolute; none: the runner's own.
    pub builds_dir: Option<PathBuf>,
    /// The folder for caches, absolute; none: the runner's own.
    pub cache_dir: Option<PathBuf>,
    /// The rules, never none. The first that matches a job decides.
    pub rules: Vec<Rule>,
    pub(super) lines: KeyLines,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// There is no file: the defaults.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(&path.to_string_lossy().escape_debug().to_string()),
            Self::BuiltIn => f.write_str("the built-in default"),
        }
    }
}

pub(super) const FILE: Schema = Schema {
    name: "the configuration",
    keys: &[
        "store",
        "state",
        "lease",
        "heartbeat",
        "wait",
        "on_timeout",
        "max_waiting",
        "on_lost",
        "history",
        "kill_grace",
        "shell",
        "prefix",
        "run_as",
        "driver",
        "survivors",
        "orphan",
        "builds_dir",
        "cache_dir",
        "locks",
    ],
    inner: &[("store", &["local", "dynamodb"]), ("locks", RULE.keys)],
};

/// What is added to a lease for renewals that are slow and processes that die slowly.
const MARGIN: Duration = Duration::from_secs(5);
const LEASE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
const HEARTBEAT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const GRACE_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

impl Config {
    /// The configuration without any file.
    ///
    /// Fails only where `environment` names no folder for the state.
    pub fn built_in(environment: &Environment) -> Result<Self, ConfigError> {
        Self::parse("", Source::BuiltIn, environment)
    }

    /// Reads the text of a file. `source` is what errors name; `environment` gives the defaults of folders.
    pub fn parse(text: &str, source: Source, environment: &Environment) -> Result<Self, ConfigError> {
        let file = source.to_string();
        let fault = |fault: Fault| fault.in_file(&file);
        let node = yaml::parse(text).map_err(fault)?;
        let mut section = Section::open(node, &FILE).map_err(fault)?;
        let state = section.opt("state", Item::path).map_err(fault)?;
        let state = state.or_else(|| environment.state_folder());
        let state = state.ok_or_else(|| ConfigError::NoStateFolder { file: file.clone() })?;
        Self::read(section, source, state).map_err(fault)
    }

    fn read(mut section: Section, source: Source, state: PathBuf) -> Result<Self, Fault> {
        let seconds = Duration::from_secs;
        let lease = section.take("lease");
        let lease_place = lease.as_ref().map(|item| item.place);
        let lease = lease.map(|item| item.duration(LEASE_BOUNDS)).transpose()?;
        let heartbeat = section.take("heartbeat");
        let place = lease_place.or(heartbeat.as_ref().map(|item| item.place));
        let heartbeat = heartbeat.map(|item| item.duration(HEARTBEAT_BOUNDS)).transpose()?;
        let kill_grace = section.take("kill_grace");
        let place = place.or(kill_grace.as_ref().map(|item| item.place)).unwrap_or_default();
        let kill_grace = kill_grace.map(|item| item.duration(GRACE_BOUNDS)).transpose()?;
        let driver = section.take("driver");
        let scripts = ["shell", "prefix", "run_as"].map(|key| section.take(key));
        if let (Some(driver), Some(other)) = (&driver, scripts.iter().flatten().next()) {
            // A driver runs the scripts itself, with whatever shell it has, as whomever it likes.
            let problem = Problem::Both { within: FILE.name, one: other.key, other: "driver" };
            return Err(Fault::new(driver.place, problem));
        }
        let [shell, prefix, run_as] = scripts;
        let config = Self {
            source,
            store: section
                .opt("store", |item| StoreConfig::read(item, &state))?
                .unwrap_or_else(|| StoreConfig::local_in(&state)),
            lease: lease.unwrap_or(seconds(60)),
            heartbeat: heartbeat.unwrap_or(seconds(15)),
            wait: section.opt("wait", |item| item.duration(WAIT_BOUNDS))?.unwrap_or(seconds(50 * 60)),
            on_timeout: section.opt("on_timeout", Item::word)?.unwrap_or_default(),
            max_waiting: section.opt("max_waiting", |item| item.whole(WAITING_BOUNDS))?,
            on_lost: section.opt("on_lost", Item::word)?.unwrap_or_default(),
            history: section.opt("history", Item::truth)?.unwrap_or(true),
            kill_grace: kill_grace.unwrap_or(seconds(10)),
            shell: shell.map(read_command).transpose()?,
            prefix: prefix.map(read_command).transpose()?.unwrap_or_default(),
            run_as: run_as.map(read_user).transpose()?,
            driver: driver.map(Driver::read).transpose()?,
            survivors: section.opt("survivors", Item::word)?.unwrap_or_default(),
            orphan: section.opt("orphan", Item::word)?.unwrap_or_default(),
            builds_dir: section.opt("builds_dir", Item::path)?,
            cache_dir: section.opt("cache_dir", Item::path)?,
            rules: section.opt("locks", read_rules)?.map_or_else(|| Ok(vec![Rule::built_in()?]), Ok)?,
            state,
            lines: section.lines,
        };
        config.check_lease(place)?;
        Ok(config)
    }

    /// A holder that loses its store has at most one heartbeat behind it and one in flight, then needs
    /// `kill_grace` to stop its job: all of it within the lease, after which another may hold the lock.
    fn check_lease(&self, place: Place) -> Result<(), Fault> {
        let (lease, heartbeat, kill_grace) = (self.lease, self.heartbeat, self.kill_grace);
        let least = 2 * heartbeat + kill_grace + MARGIN;
        if lease >= least {
            return Ok(());
        }
        Err(Fault::new(place, Problem::LeaseTooShort { lease, heartbeat, kill_grace, least }))
    }
}

fn read_command(item: Item) -> Result<Vec<String>, Fault> {
    let (key, place) = (item.key, item.place);
    let words = item.texts()?;
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Fault::new(
            place,
            Problem::Value { key, why: "a word of a command has no NUL in it".into() },
        ));
    }
    // One text with spaces is most likely a command line, which nothing here would take apart.
    if let [only] = words.as_slice()
        && only.contains(char::is_whitespace)
    {
        let list = only.split_whitespace().collect::<Vec<_>>().join(", ");
        let why = format!("is one word or a list of them: write [{}]", super::suggest::shown(&list));
        return Err(Fault::new(place, Problem::Value { key, why }));
    }
    Ok(words)
}

fn read_user(item: Item) -> Result<String, Fault> {
    let (key, place) = (item.key, item.place);
    let name = item.text()?;
    let why = if name == "root" {
        "as root the scripts run without this key: name another user, or drop it"
    } else if name.starts_with('-')
        || name.contains(|c: char| c == ':' || c.is_control() || c.is_whitespace())
    {
        "is no user's name"
    } else {
        return Ok(name);
    };
    Err(Fault::new(place, Problem::Value { key, why: why.into() }))
}

fn read_rules(item: Item) -> Result<Vec<Rule>, Fault> {
    if item.value == Value::List(Vec::new()) {
        return Err(item.bad(
            "there are no rules: drop the key for one lock per project, or write `- name: []` for no locks at all",
        ));
    }
    item.list()?.into_iter().map(Rule::read).collect()
}
