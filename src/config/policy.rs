//! Which locks a job takes.

use std::time::Duration;

use super::ask::{Ask, AskedLocks};
use super::duration::show_duration;
use super::facts::JobFacts;
use super::matcher::{Verdict, in_projects};
use super::ownership;
use super::policy_error::PolicyError;
use super::rule::Rule;
use super::rule_ref::RuleRef;
use super::scope::Scope;
use super::settings::Config;
use super::suggest::shown;
use super::template::Template;
use super::variables::JobVariables;
use super::words::Mode;
use crate::lock::LockName;

/// What was decided about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The locks to take, no two of one name, in the order in which they were named. None: the job runs without.
    pub locks: Vec<WantedLock>,
    /// The rule that decided; none if no rule matches.
    pub rule: Option<RuleRef>,
    /// Why, in a sentence.
    pub why: String,
    /// The rules before it and why each doesn't match, a line each.
    pub passed_over: Vec<String>,
    /// What the job's author should be told, a line each.
    pub notes: Vec<String>,
}

/// A lock that a job is to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLock {
    /// Its name.
    pub name: LockName,
    /// How it is held.
    pub mode: Mode,
    /// How long the job may wait for it. Nothing: it is tried once.
    pub wait: Duration,
}

/// Decides which locks a job takes.
///
/// The first rule that matches has its say. The job's variables may then choose other names (those of its own
/// project, or shared ones), none at all, or a shorter wait, as far as the rule lets them.
pub fn decide(config: &Config, facts: &JobFacts, variables: &JobVariables) -> Result<Decision, PolicyError> {
    let ask = Ask::read(variables)?;
    let job = Job { config, scope: Scope { facts, variables } };
    let (rule, passed_over) = job.first_match()?;
    let (locks, why) = match &ask.locks {
        None => job.by_rule(rule, &ask)?,
        Some(AskedLocks::OptOut) => job.opt_out(rule)?,
        Some(AskedLocks::Names(names)) => job.by_request(rule, names, &ask)?,
    };
    let rule = rule.map(|found| job.reference(found));
    Ok(Decision { locks, rule, why, passed_over, notes: ask.notes })
}

/// A rule and its place among the rules.
type Found<'a> = (usize, &'a Rule);

struct Job<'a> {
    config: &'a Config,
    scope: Scope<'a>,
}

impl<'a> Job<'a> {
    fn reference(&self, (index, rule): Found<'_>) -> RuleRef {
        RuleRef { index, line: rule.line, source: self.config.source.clone() }
    }

    /// The first rule that matches, and why those before it don't.
    fn first_match(&self) -> Result<(Option<Found<'a>>, Vec<String>), PolicyError> {
        let mut passed_over = Vec::new();
        for found in self.config.rules.iter().enumerate() {
            match self.matches(found.1) {
                Verdict::Yes => return Ok((Some(found), passed_over)),
                Verdict::No(why) => passed_over.push(format!("{}: {why}", self.reference(found))),
                Verdict::Unknown(fact) => {
                    return Err(PolicyError::Untold { rule: self.reference(found), fact });
                }
            }
        }
        Ok((None, passed_over))
    }

    fn matches(&self, rule: &Rule) -> Verdict {
        let Scope { facts, variables } = self.scope;
        let shared = match &rule.shared {
            Some(shared) if shared.on_request => {
                return Verdict::No("it is only for jobs that ask for it (`on_request: true`)".to_owned());
            }
            Some(shared) => in_projects(&shared.projects, facts),
            None => Verdict::Yes,
        };
        match (shared, rule.matcher.verdict(facts, variables)) {
            (Verdict::Yes, verdict) | (Verdict::Unknown(_), verdict @ Verdict::No(_)) => verdict,
            (shared, _) => shared,
        }
    }

    fn by_rule(&self, rule: Option<Found<'a>>, ask: &Ask) -> Result<(Vec<WantedLock>, String), PolicyError> {
        let Some(found) = rule else {
            return Ok((Vec::new(), format!("no lock: none of the rules of {} matches", self.config.source)));
        };
        let reference = self.reference(found);
        let mut locks: Vec<WantedLock> = Vec::new();
        for template in &found.1.names {
            let lock = self.wanted(self.expand(found, template)?, Some(found), ask)?;
            if locks.iter().all(|known| known.name != lock.name) {
                locks.push(lock);
            }
        }
        let why = match locks.len() {
            0 => format!("no lock: {reference} is the first that matches, and names none"),
            _ => format!("{reference} is the first that matches"),
        };
        Ok((locks, why))
    }

    fn opt_out(&self, rule: Option<Found<'a>>) -> Result<(Vec<WantedLock>, String), PolicyError> {
        match rule {
            Some(found) if !(found.1.opt_out && found.1.jobs_may_choose) => {
                Err(PolicyError::MayNotOptOut { rule: self.reference(found) })
            }
            _ => Ok((Vec::new(), "no lock: the job asks for none (PIPELINE_LOCK: none)".to_owned())),
        }
    }

    fn by_request(
        &self,
        rule: Option<Found<'a>>,
        names: &[String],
        ask: &Ask,
    ) -> Result<(Vec<WantedLock>, String), PolicyError> {
        if let Some(found) = rule.filter(|(_, rule)| !rule.jobs_may_choose) {
            return Err(PolicyError::MayNotChoose { rule: self.reference(found) });
        }
        let mut locks: Vec<WantedLock> = Vec::new();
        for name in names {
            let lock = match self.shared(name)? {
                Some((found, name)) => self.wanted(name, Some(found), ask)?,
                None => self.wanted(self.own(name)?, rule, ask)?,
            };
            if let Some(same) = locks.iter().find(|known| known.name == lock.name) {
                let why = format!("names `{}` twice: name each lock once", same.name);
                return Err(PolicyError::Variable { variable: "PIPELINE_LOCK", why });
            }
            locks.push(lock);
        }
        Ok((locks, "the job names its locks itself (PIPELINE_LOCK)".to_owned()))
    }

    /// The shared lock that is called `name`, if there is one, and the rule that shares it with this project.
    fn shared(&self, name: &str) -> Result<Option<(Found<'a>, LockName)>, PolicyError> {
        let mut refused = None;
        for found in self.config.rules.iter().enumerate() {
            let Some(shared) = &found.1.shared else { continue };
            for template in &found.1.names {
                // A template that this job can't fill, or not properly, makes no name that it could mean.
                let Ok(made) = self.expand(found, template) else { continue };
                if made.as_str() != name {
                    continue;
                }
                if in_projects(&shared.projects, self.scope.facts) == Verdict::Yes {
                    return Ok(Some((found, made)));
                }
                refused = refused.or(Some(found));
            }
        }
        refused.map_or(Ok(None), |found| {
            let project = self.scope.facts.project_path.clone().unwrap_or_default();
            Err(PolicyError::NotSharedWith { name: shown(name), rule: self.reference(found), project })
        })
    }

    /// The name under the job's own project that the job means by `name`.
    fn own(&self, name: &str) -> Result<LockName, PolicyError> {
        let prefix = ownership::own_prefix(self.scope.facts).ok_or(PolicyError::NoIdentity)?;
        let host = self.scope.facts.host.as_deref().unwrap_or_default();
        if !ownership::lies_under(name, &prefix) && ownership::lies_under(name, host) {
            return Err(PolicyError::AnotherProjects { name: shown(name) });
        }
        let whole =
            if ownership::lies_under(name, &prefix) { name.to_owned() } else { format!("{prefix}/{name}") };
        checked(whole, "PIPELINE_LOCK")
    }

    /// The name that a rule's template makes for this job.
    fn expand(&self, found: Found<'_>, template: &Template) -> Result<LockName, PolicyError> {
        let facts = self.scope.facts;
        let rule = || self.reference(found);
        let prefix = match found.1.shared {
            Some(_) => None,
            None => Some(ownership::own_prefix(facts).ok_or(PolicyError::NoIdentity)?),
        };
        let missing = |name: &str| PolicyError::MissingVariable { rule: rule(), variable: name.to_owned() };
        let name = template.expand(|name| self.scope.value(name).map_err(|_| missing(name)), missing)?;
        let forged = match prefix {
            Some(prefix) => !ownership::lies_under(&name, &prefix),
            None => ownership::shared_name_is_forged(template, &name, facts),
        };
        if forged {
            return Err(PolicyError::Forged { rule: rule(), name: shown(&name) });
        }
        checked(name, &rule().to_string())
    }

    /// The lock `name`, by the mode and wait of `rule` as far as the job doesn't ask for others.
    fn wanted(&self, name: LockName, rule: Option<Found<'_>>, ask: &Ask) -> Result<WantedLock, PolicyError> {
        let most = rule.and_then(|(_, rule)| rule.wait).unwrap_or(self.config.wait);
        let wait = ask.wait.unwrap_or(most);
        if wait > most {
            let rule = match rule {
                Some(found) if found.1.wait.is_some() => self.reference(found).to_string(),
                _ => format!("`wait: {}` of {}", show_duration(most), self.config.source),
            };
            return Err(PolicyError::WaitTooLong { asked: wait, most, rule });
        }
        let mode = ask.mode.unwrap_or(rule.map(|(_, rule)| rule.mode).unwrap_or_default());
        Ok(WantedLock { name, mode, wait })
    }
}

fn checked(name: String, rule: &str) -> Result<LockName, PolicyError> {
    if let Some(odd) = ownership::odd_part(&name) {
        return Err(PolicyError::OddPart { odd: odd.to_owned(), name: shown(&name) });
    }
    LockName::new(name).map_err(|why| PolicyError::Name { rule: rule.to_owned(), why })
}
