//! A decision as people and programs read it: which rule, why not an earlier one, and where each setting of
//! each lock comes from.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::decision::{Decision, Origin, PassedOver, WantedLock};
use super::duration::show_duration;
use super::rule_ref::RuleRef;
use super::settings::Source;
use super::words::{Scope, Word};
use crate::lock::{Limit, Line, Mode};

/// A [`Decision`], explained: to people by `Display`, several lines long, to programs by `Serialize`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The rule that decided; none if no rule matches.
    pub rule: Option<ExplainedRule>,
    /// Why, in a sentence.
    pub why: String,
    /// The rules before it.
    pub passed_over: Vec<ExplainedPass>,
    /// The locks that the job takes.
    pub locks: Vec<ExplainedLock>,
    /// Whether the job's end ends its pipeline's holds.
    pub release_after: bool,
    /// The pipeline whose holds the job's pipeline shares.
    pub parent: Option<u64>,
    /// What the job's author should know.
    pub notes: Vec<String>,
}

/// A rule of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedRule {
    /// Its place among the rules, from 1.
    pub number: usize,
    /// The file; none: the rule is built in.
    pub file: Option<String>,
    /// The line at which it begins.
    pub line: Option<u64>,
    #[serde(skip)]
    shown: String,
}

/// A rule that doesn't match, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedPass {
    /// The rule.
    pub rule: ExplainedRule,
    /// Why it doesn't match.
    pub why: String,
}

/// A lock that the job takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedLock {
    /// Its name.
    pub name: String,
    /// The pipeline's number in a line of deployments, where a newer one makes it obsolete.
    pub line: Option<ExplainedLine>,
    /// Its settings, in the order in which the documentation has them. To programs: a map by key.
    #[serde(serialize_with = "as_map")]
    pub settings: Vec<ExplainedSetting>,
}

/// A pipeline's number in a line of deployments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedLine {
    /// The line: instance, project and ref.
    pub key: String,
    /// The pipeline's id: the higher, the newer.
    pub pipeline: u64,
}

/// A setting of a lock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedSetting {
    /// What the file calls it.
    #[serde(skip)]
    pub key: &'static str,
    /// Its value, as the file writes it (a duration is a text such as `50m`); null: no bound, or none.
    pub value: Value,
    /// Where the value comes from.
    pub from: ExplainedOrigin,
}

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum ExplainedOrigin {
    /// Nobody says anything about it.
    Default,
    /// The file's top level.
    File {
        /// The file.
        file: Option<String>,
        /// The key's line.
        line: u64,
    },
    /// A rule.
    Rule {
        /// The rule's place among the rules, from 1.
        number: usize,
        /// The file.
        file: Option<String>,
        /// The key's line.
        line: u64,
    },
    /// A variable of the job.
    Variable {
        /// Its name.
        name: &'static str,
    },
}

impl Decision {
    /// The decision, explained.
    pub fn explain(&self) -> Explanation {
        let pass = |passed: &PassedOver| ExplainedPass {
            rule: ExplainedRule::from(&passed.rule),
            why: passed.why.clone(),
        };
        Explanation {
            rule: self.rule.as_ref().map(ExplainedRule::from),
            why: self.why.clone(),
            passed_over: self.passed_over.iter().map(pass).collect(),
            locks: self.locks.iter().map(ExplainedLock::from).collect(),
            release_after: self.release_after,
            parent: self.parent,
            notes: self.notes.clone(),
        }
    }
}

impl From<&RuleRef> for ExplainedRule {
    fn from(rule: &RuleRef) -> Self {
        Self { number: rule.index + 1, file: file_of(&rule.source), line: rule.line, shown: rule.to_string() }
    }
}

fn file_of(source: &Source) -> Option<String> {
    match source {
        Source::File(_) => Some(source.to_string()),
        Source::BuiltIn => None,
    }
}

impl From<&Origin> for ExplainedOrigin {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Default => Self::Default,
            Origin::File { source, line } => Self::File { file: file_of(source), line: *line },
            Origin::Rule { rule, line } => {
                Self::Rule { number: rule.index + 1, file: file_of(&rule.source), line: *line }
            }
            Origin::Variable(name) => Self::Variable { name },
        }
    }
}

impl From<&WantedLock> for ExplainedLock {
    fn from(lock: &WantedLock) -> Self {
        let line = |line: &Line| ExplainedLine { key: line.key.clone(), pipeline: line.pipeline };
        let setting = |(key, value): (&'static str, Value)| ExplainedSetting {
            key,
            value,
            from: lock.origins.of(key).into(),
        };
        Self {
            name: lock.name.to_string(),
            line: lock.line.as_ref().map(line),
            settings: values(lock).into_iter().map(setting).collect(),
        }
    }
}

/// The settings of a lock, as the file writes them.
fn values(lock: &WantedLock) -> Vec<(&'static str, Value)> {
    let resources = (!lock.resources.is_empty()).then_some(&lock.resources);
    let linger = (lock.scope == Scope::Pipeline).then(|| show_duration(lock.linger));
    vec![
        ("mode", json!(lock.mode.as_str())),
        ("limit", json!(bound(lock.limit))),
        ("resources", json!(resources)),
        ("order", json!(lock.order.as_str())),
        ("supersede", json!(lock.line.is_some())),
        ("priority", json!(lock.priority)),
        ("max_queue", json!(lock.max_queue)),
        ("wait", json!(show_duration(lock.wait))),
        ("on_timeout", json!(lock.on_timeout.word())),
        ("scope", json!(lock.scope.word())),
        ("linger", json!(linger)),
    ]
}

/// The limit, if it is one.
fn bound(limit: Limit) -> Option<u32> {
    (limit != Mode::Shared.default_limit()).then_some(limit.0)
}

fn as_map<S: Serializer>(settings: &[ExplainedSetting], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|setting| (setting.key, setting)))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for passed in &self.passed_over {
            writeln!(f, "{} doesn't match: {}", passed.rule.shown, passed.why)?;
        }
        write!(f, "{}", self.why)?;
        for lock in &self.locks {
            write!(f, "\n\nlock {}", lock.name)?;
            let rows: Vec<(&str, String, String)> = lock.settings.iter().map(row).collect();
            let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
            for (key, value, from) in rows {
                write!(f, "\n  {key:<10}  {value:<width$}  {from}")?;
            }
            if let Some(line) = &lock.line {
                write!(f, "\n  pipeline {} of {}", line.pipeline, line.key)?;
            }
        }
        if let Some(parent) = self.parent {
            write!(f, "\n\nThe holds are those of the parent pipeline {parent} (PIPELINE_LOCK_PARENT).")?;
        }
        if self.release_after {
            write!(f, "\n\nThe job's end ends its pipeline's holds (PIPELINE_LOCK_RELEASE: after).")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n\nNote: {note}"))
    }
}

/// A setting's line: its key, its value, and where that comes from.
fn row(setting: &ExplainedSetting) -> (&str, String, String) {
    let value = match &setting.value {
        Value::Null if matches!(setting.key, "limit" | "max_queue") => "no bound".to_owned(),
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    (setting.key, value, setting.from.to_string())
}

impl fmt::Display for ExplainedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |file: &Option<String>| file.clone().unwrap_or_else(|| Source::BuiltIn.to_string());
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}, line {line}", named(file)),
            Self::Rule { number, file, line } => write!(f, "rule {number}, {}, line {line}", named(file)),
            Self::Variable { name } => f.write_str(name),
        }
    }
}
