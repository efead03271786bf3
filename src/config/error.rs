//! What can be wrong with the configuration, and how an operator is told.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::duration::{DurationError, show_duration};
use super::suggest::hint;
use super::template::TemplateError;

/// A place in the file. Lines and columns count from 1, columns in characters; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How the configuration's path came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// By `--config`.
    Option,
    /// By `$PIPELINE_LOCK_CONFIG`.
    Variable,
    /// It is one of the places that are always looked at, and it is there.
    Place,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Option => "named by --config",
            Self::Variable => "named by $PIPELINE_LOCK_CONFIG",
            Self::Place => "a place that is always looked at",
        })
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read, or one that was named isn't there. Create it or let this user read it; no other
    /// file is taken in its stead.
    #[error("cannot read the configuration {file:?} ({named}): {source}\nNo other file is used instead: {}.",
        remedy(*named, source.kind()))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// How it was named.
        named: NamedBy,
        /// What the system said.
        source: io::Error,
    },
    /// `$PIPELINE_LOCK_CONFIG` is set but empty. Unset it, or name a file.
    #[error("PIPELINE_LOCK_CONFIG is set but empty: unset it, or let it name the configuration file")]
    EmptyVariable,
    /// There is no folder for the keeper's state: the file has no `state`, and the user has no home.
    #[error(
        "there is no folder for pipeline-lock's state: HOME and XDG_STATE_HOME are not set to absolute paths; \
         set `state: /some/folder` in {file}"
    )]
    NoStateFolder {
        /// Where the configuration came from.
        file: String,
    },
    /// Something in the file is wrong. The message says where, what, and how to put it right.
    #[error("{file}:{place}: {problem}")]
    Invalid {
        /// The file, or what stands for it.
        file: String,
        /// Where in the file.
        place: Place,
        /// What is wrong there.
        problem: Problem,
    },
}

fn remedy(named: NamedBy, kind: io::ErrorKind) -> &'static str {
    match (named, kind) {
        (_, io::ErrorKind::PermissionDenied) => {
            "let the user that runs pipeline-lock (the runner's) read it and enter its folders"
        }
        // What this program itself finds wrong with the file's mode.
        (_, io::ErrorKind::InvalidInput) => "take that right away from others (chmod o-w)",
        (NamedBy::Option, _) => "create it, or correct or drop --config",
        (NamedBy::Variable, _) => "create it, or correct or unset PIPELINE_LOCK_CONFIG",
        (NamedBy::Place, _) => "make it a readable file, or remove it",
    }
}

/// What is wrong at a place of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The text isn't YAML, or uses what has no place here (tags, several documents). Correct it there.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A key that isn't known. Correct or remove it.
    #[error("unknown key `{key}` in {within}: {}", place_hint(key, known, *belongs))]
    UnknownKey {
        /// The key, as shown.
        key: String,
        /// What it stands in.
        within: &'static str,
        /// The keys known there.
        known: &'static [&'static str],
        /// The other section that the key belongs to, if it is right there.
        belongs: Option<&'static str>,
    },
    /// A key that has to be there. Add it.
    #[error("{within} has no `{key}`: add one, for example `{example}`")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it is missing from.
        within: &'static str,
        /// What it may look like.
        example: &'static str,
    },
    /// Two keys of which only one can be. Remove one.
    #[error("{within} has both `{one}` and `{other}`: keep one of them")]
    Both {
        /// What they stand in.
        within: &'static str,
        /// One key.
        one: &'static str,
        /// The other key.
        other: &'static str,
    },
    /// A value of the wrong kind (a list where a text is wanted). Write the kind that is named.
    #[error("`{key}` is to be {wanted}, but is {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What is wanted.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// A duration that can't be read. Write `500ms`, `6s`, `50m` or `2h`.
    #[error("`{key}`: {why}")]
    Duration {
        /// The key.
        key: &'static str,
        /// Why not.
        why: DurationError,
    },
    /// A duration that no set-up can want. Choose one within the bounds.
    #[error("`{key}` is {}: it is to be from {} to {}", show_duration(*value), show_duration(*least), show_duration(*most))]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        value: Duration,
        /// The least that is allowed.
        least: Duration,
        /// The most that is allowed.
        most: Duration,
    },
    /// A number that no set-up can want. Choose one within the bounds.
    #[error("`{key}` is {value}: it is to be a whole number from {least} to {most}")]
    NotWithin {
        /// The key.
        key: &'static str,
        /// Its value, as shown.
        value: String,
        /// The least that is allowed.
        least: i64,
        /// The most that is allowed.
        most: i64,
    },
    /// A value that the key can't have. The message says what it can.
    #[error("`{key}`: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// Why not, and what would do.
        why: String,
    },
    /// A name's template can't be used.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// The lease is too short for the heartbeat and the time that stopping a job takes: a holder could still
    /// run when others may take its lock. Lengthen the lease or shorten the others.
    #[error(
        "`lease` is {lease}, but has to be at least 2 x heartbeat + kill_grace + 5s = 2 x {heartbeat} + \
         {kill_grace} + 5s = {least}: lengthen `lease`, or shorten `heartbeat` or `kill_grace`",
        lease = show_duration(*lease), heartbeat = show_duration(*heartbeat),
        kill_grace = show_duration(*kill_grace), least = show_duration(*least)
    )]
    LeaseTooShort {
        /// The lease.
        lease: Duration,
        /// The time between two renewals.
        heartbeat: Duration,
        /// The time from TERM to KILL.
        kill_grace: Duration,
        /// What the lease has to be at least.
        least: Duration,
    },
}

fn place_hint(key: &str, known: &[&str], belongs: Option<&str>) -> String {
    match belongs {
        Some(section) => format!("it belongs under `{section}:`"),
        None => hint(key, known),
    }
}

/// A [`Problem`] at its [`Place`], before it is known which file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn new(place: Place, problem: impl Into<Problem>) -> Self {
        Self { place, problem: problem.into() }
    }

    pub(super) fn in_file(self, file: &str) -> ConfigError {
        ConfigError::Invalid { file: file.to_owned(), place: self.place, problem: self.problem }
    }
}
