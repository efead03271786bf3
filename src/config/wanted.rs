//! How a job takes one lock: what the job asks for, as far as the lock's rule lets it, else what the rule says,
//! else the file, else the default.
//!
//! A job may always ask for less than its rule gives: to be alone, to wait less, to let others go first. It may
//! ask for more only as far as the file says so. *More* is:
//!
//! - a longer wait than the file's,
//! - a higher priority than `max_priority`,
//! - to hold together with others a lock that the rule gives to one at a time: by the mode `shared`, by a hold
//!   of the pipeline in place of the job's (its jobs are in it together), by another pipeline's hold
//!   (PIPELINE_LOCK_PARENT), and by a hold of the job in place of the pipeline's (others come in between two of
//!   its jobs). Who may do so is what [`Rule::may_share`] says.

use std::time::Duration;

use super::ask::{self, Ask};
use super::decision::{Origin, Origins, WantedLock};
use super::duration::show_duration;
use super::facts::JobFacts;
use super::manner::Manner;
use super::policy_error::PolicyError;
use super::rule::Rule;
use super::rule_ref::RuleRef;
use super::settings::Config;
use super::words::{OnTimeout, Scope, Word};
use crate::lock::{Limit, Line, LockName, Mode};

/// How long a pipeline's hold stays without a job of the pipeline, where the rule doesn't say.
const LINGER: Duration = Duration::from_secs(120);

/// On whose word a job takes a lock.
pub(super) struct Wish<'a> {
    pub(super) config: &'a Config,
    pub(super) facts: &'a JobFacts,
    pub(super) ask: &'a Ask,
    /// The rule whose settings the lock has; none: no rule matches the job.
    pub(super) rule: Option<(RuleRef, &'a Rule)>,
    /// Whether the rule makes the lock's name. Else the job made it up, and the rule's limit and resources,
    /// which are those of its own locks, are not meant.
    pub(super) by_rule: bool,
}

/// A value and where it comes from.
type Told<T> = (T, Origin);

impl Wish<'_> {
    /// The lock `name`, as this job takes it.
    pub(super) fn wanted(&self, name: LockName) -> Result<WantedLock, PolicyError> {
        let mut origins = Origins::default();
        let (mode, limit) = self.mode_and_limit()?;
        let scope = self.scope()?;
        let linger = self.linger(scope.0);
        Ok(WantedLock {
            name,
            mode: origins.note("mode", mode),
            limit: origins.note("limit", limit),
            resources: origins.note("resources", self.resources().unwrap_or_default()),
            order: origins.note("order", self.told("order", |m| m.order).unwrap_or_default()),
            priority: origins.note("priority", self.priority()?),
            line: origins.note("supersede", self.line()?),
            max_queue: origins.note("max_queue", some(self.told("max_queue", |m| m.max_queue))),
            wait: origins.note("wait", self.wait()?),
            on_timeout: origins.note("on_timeout", self.on_timeout()),
            scope: origins.note("scope", scope),
            linger: origins.note("linger", linger),
            origins,
        })
    }

    /// What the rule says at `key`, if it says anything.
    fn told<T>(&self, key: &str, value: impl FnOnce(&Manner) -> Option<T>) -> Option<Told<T>> {
        let (rule, settings) = self.rule.as_ref()?;
        let line = settings.lines.of(key).unwrap_or_default();
        Some((value(&settings.manner)?, Origin::Rule { rule: rule.clone(), line }))
    }

    /// What the file says at the top-level `key`, whose value is `value`.
    fn of_file<T>(&self, key: &str, value: T) -> Told<T> {
        let source = || self.config.source.clone();
        let origin = self.config.lines.of(key).map(|line| Origin::File { source: source(), line });
        (value, origin.unwrap_or_default())
    }

    fn mode_and_limit(&self) -> Result<(Told<Mode>, Told<Limit>), PolicyError> {
        let said = self.told("mode", |m| m.mode).unwrap_or_default();
        let by_rule = said.0;
        let mode = self.ask.mode.map_or(said, |mode| (mode, Origin::Variable(ask::MODE)));
        let limit = match (by_rule, mode.0) {
            (Mode::Exclusive, Mode::Shared) => {
                self.may_share(ask::MODE, "shared", "mode: exclusive")?;
                self.limit(mode.0)
            }
            // Who asks to be alone is, whatever room the rule's shared holds have.
            (Mode::Shared, Mode::Exclusive) => (Mode::Exclusive.default_limit(), mode.1.clone()),
            _ => self.limit(mode.0),
        };
        Ok((mode, limit))
    }

    fn limit(&self, mode: Mode) -> Told<Limit> {
        let stated = self.told("limit", |m| m.limit).or_else(|| {
            let count = |m: &Manner| u32::try_from(m.resources.len()).ok().filter(|count| *count > 0);
            self.told("resources", count)
        });
        let stated = stated.filter(|_| self.by_rule).map(|(limit, origin)| (Limit(limit), origin));
        stated.unwrap_or_else(|| (mode.default_limit(), Origin::Default))
    }

    fn resources(&self) -> Option<Told<Vec<String>>> {
        let named = |m: &Manner| Some(m.resources.clone()).filter(|names| !names.is_empty());
        self.told("resources", named).filter(|_| self.by_rule)
    }

    fn priority(&self) -> Result<Told<i32>, PolicyError> {
        let said = self.told("priority", |m| m.priority).unwrap_or_default();
        let most = self.told("max_priority", |m| m.max_priority).map_or(said.0, |(most, _)| most);
        match self.ask.priority {
            None => Ok(said),
            Some(asked) if asked > most => {
                Err(PolicyError::PriorityTooHigh { asked, most, rule: self.by_whom() })
            }
            Some(asked) => Ok((asked, Origin::Variable(ask::PRIORITY))),
        }
    }

    /// Which pipeline of which line the job is of, where newer ones make older ones obsolete. The line is the
    /// project's ref on its instance. A child pipeline counts as its parent: it is no newer deployment. An
    /// author who names a wrong one as the parent can only make the own job older.
    fn line(&self) -> Result<Told<Option<Line>>, PolicyError> {
        let (supersede, origin) = self.told("supersede", |m| m.supersede).unwrap_or_default();
        if !supersede {
            return Ok((None, origin));
        }
        let facts = self.facts;
        let untold =
            |fact| PolicyError::Unsaid { what: format!("`supersede: true` of {}", self.by_whom()), fact };
        let host = facts.host.as_deref().ok_or_else(|| untold(HOST))?;
        let id = facts.project_id.map(|id| id.to_string());
        let project = id.or_else(|| facts.project_path.clone()).ok_or_else(|| untold(PROJECT))?;
        let git_ref = facts.git_ref.as_deref().ok_or_else(|| untold(REF))?;
        let own = facts.pipeline_id.ok_or_else(|| untold(PIPELINE))?;
        let kind = if facts.is_tag { "tag" } else { "branch" };
        let pipeline = self.ask.parent.map_or(own, |parent| parent.min(own));
        Ok((Some(Line::new(&format!("{host}/{project} {kind} {git_ref}"), pipeline)), origin))
    }

    fn wait(&self) -> Result<Told<Duration>, PolicyError> {
        let most = self.told("wait", |m| m.wait);
        let has_own = most.is_some();
        let most = most.unwrap_or_else(|| self.of_file("wait", self.config.wait));
        match self.ask.wait {
            None => Ok(most),
            Some(asked) if asked > most.0 => {
                let file = || format!("`wait: {}` of {}", show_duration(most.0), self.config.source);
                let rule = if has_own { self.by_whom() } else { file() };
                Err(PolicyError::WaitTooLong { asked, most: most.0, rule })
            }
            Some(asked) => Ok((asked, Origin::Variable(ask::WAIT))),
        }
    }

    fn on_timeout(&self) -> Told<OnTimeout> {
        let asked = self.ask.on_timeout.map(|asked| (asked, Origin::Variable(ask::ON_TIMEOUT)));
        asked
            .or_else(|| self.told("on_timeout", |m| m.on_timeout))
            .unwrap_or_else(|| self.of_file("on_timeout", self.config.on_timeout))
    }

    fn scope(&self) -> Result<Told<Scope>, PolicyError> {
        let said = self.told("scope", |m| m.scope).unwrap_or_default();
        let by_rule = said.0;
        let scope = self.ask.scope.map_or(said, |scope| (scope, Origin::Variable(ask::SCOPE)));
        if scope.0 != by_rule {
            self.may_share(ask::SCOPE, scope.0.word(), &format!("scope: {}", by_rule.word()))?;
        }
        if scope.0 == Scope::Pipeline {
            self.check_pipeline(&scope.1)?;
        }
        Ok(scope)
    }

    /// A hold of the pipeline needs a pipeline that is known, and another's needs leave.
    fn check_pipeline(&self, origin: &Origin) -> Result<(), PolicyError> {
        let facts = self.facts;
        if let Some(parent) = self.ask.parent.filter(|parent| Some(*parent) != facts.pipeline_id) {
            self.may_share(ask::PARENT, &parent.to_string(), "scope: pipeline")?;
        }
        if facts.pipeline_owner(None).is_some() {
            return Ok(());
        }
        let what = match origin {
            Origin::Variable(variable) => format!("{variable}: pipeline"),
            _ => format!("`scope: pipeline` of {}", self.by_whom()),
        };
        let fact = match (&facts.host, facts.project_id) {
            (None, _) => HOST,
            (_, None) => PROJECT,
            _ => PIPELINE,
        };
        Err(PolicyError::Unsaid { what, fact })
    }

    fn linger(&self, scope: Scope) -> Told<Duration> {
        match scope {
            Scope::Job => (Duration::ZERO, Origin::Default),
            Scope::Pipeline => self.told("linger", |m| m.linger).unwrap_or((LINGER, Origin::Default)),
        }
    }

    /// Lets a job share what its rule gives to one at a time, or says why not.
    fn may_share(&self, variable: &'static str, asked: &str, rule_has: &str) -> Result<(), PolicyError> {
        let refused = self.rule.as_ref().filter(|(_, rule)| {
            let is_own = !self.by_rule || rule.shared.is_none();
            !rule.may_share(is_own)
        });
        refused.map_or(Ok(()), |(rule, _)| {
            let (asked, rule_has) = (asked.to_owned(), rule_has.to_owned());
            Err(PolicyError::MayNotShare { variable, asked, rule: rule.clone(), rule_has })
        })
    }

    /// Who sets the bounds, for messages.
    fn by_whom(&self) -> String {
        match &self.rule {
            Some((rule, _)) => rule.to_string(),
            None => format!("{}, which has no rule for this job,", self.config.source),
        }
    }
}

const HOST: &str = "instance (git_info.repo_url)";
const PROJECT: &str = "project (job_info.project_id)";
const REF: &str = "ref (git_info.ref)";
const PIPELINE: &str =
    "pipeline (job_info.pipeline_id, or a CI_PIPELINE_ID that no variable of the job overrides)";

fn some<T>(told: Option<Told<T>>) -> Told<Option<T>> {
    told.map_or((None, Origin::Default), |(value, origin)| (Some(value), origin))
}
