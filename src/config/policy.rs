//! Which locks a job takes.

use super::ask::{self, Ask, AskedLocks};
use super::decision::{Decision, PassedOver, WantedLock};
use super::facts::JobFacts;
use super::matcher::{Verdict, in_projects};
use super::ownership;
use super::policy_error::PolicyError;
use super::rule::Rule;
use super::rule_ref::RuleRef;
use super::settings::Config;
use super::suggest::shown;
use super::template::Template;
use super::values::Values;
use super::variables::JobVariables;
use super::wanted::Wish;
use super::words::Scope;
use crate::lock::LockName;

/// Decides which locks a job takes.
///
/// The first rule that matches has its say. The job's variables may then choose other names (those of its own
/// project, or shared ones), none at all, or other terms, as far as the rule lets them.
pub fn decide(config: &Config, facts: &JobFacts, variables: &JobVariables) -> Result<Decision, PolicyError> {
    let ask = Ask::read(variables)?;
    let job = Job { config, values: Values { facts, variables } };
    let (rule, passed_over) = job.first_match()?;
    let (locks, why) = match &ask.locks {
        None => job.by_rule(rule, &ask)?,
        Some(AskedLocks::OptOut) => job.opt_out(rule)?,
        Some(AskedLocks::Names(names)) => job.by_request(rule, names, &ask)?,
    };
    let rule = rule.map(|found| job.reference(found));
    let of_pipeline = locks.iter().any(|lock| lock.scope == Scope::Pipeline);
    let parent = ask.parent.filter(|_| of_pipeline);
    let release_after = ask.release.is_some() && of_pipeline;
    let mut notes = ask.notes;
    if ask.release.is_some() && !of_pipeline {
        notes.push(format!(
            "{} has no effect: no lock of this job is its pipeline's (`scope: pipeline`), each ends with the job",
            ask::RELEASE
        ));
    }
    Ok(Decision { locks, rule, why, passed_over, release_after, parent, notes })
}

/// A rule and its place among the rules.
type Found<'a> = (usize, &'a Rule);

struct Job<'a> {
    config: &'a Config,
    values: Values<'a>,
}

impl<'a> Job<'a> {
    fn reference(&self, (index, rule): Found<'_>) -> RuleRef {
        RuleRef { index, line: rule.line, source: self.config.source.clone() }
    }

    /// The first rule that matches, and why those before it don't.
    fn first_match(&self) -> Result<(Option<Found<'a>>, Vec<PassedOver>), PolicyError> {
        let mut passed_over = Vec::new();
        for found in self.config.rules.iter().enumerate() {
            match self.matches(found.1) {
                Verdict::Yes => return Ok((Some(found), passed_over)),
                Verdict::No(why) => passed_over.push(PassedOver { rule: self.reference(found), why }),
                Verdict::Unknown(fact) => {
                    return Err(PolicyError::Untold { rule: self.reference(found), fact });
                }
            }
        }
        Ok((None, passed_over))
    }

    fn matches(&self, rule: &Rule) -> Verdict {
        let Values { facts, variables } = self.values;
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
            let lock = self.wish(Some(found), true, ask).wanted(self.expand(found, template)?)?;
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
                Some((found, name)) => self.wish(Some(found), true, ask).wanted(name)?,
                None => self.own_wanted(self.own(name)?, rule, ask)?,
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
                if in_projects(&shared.projects, self.values.facts) == Verdict::Yes {
                    return Ok(Some((found, made)));
                }
                refused = refused.or(Some(found));
            }
        }
        refused.map_or(Ok(None), |found| {
            let project = self.values.facts.project_path.clone().unwrap_or_default();
            Err(PolicyError::NotSharedWith { name: shown(name), rule: self.reference(found), project })
        })
    }

    /// The name under the job's own project that the job means by `name`.
    fn own(&self, name: &str) -> Result<LockName, PolicyError> {
        let prefix = ownership::own_prefix(self.values.facts).ok_or(PolicyError::NoIdentity)?;
        let host = self.values.facts.host.as_deref().unwrap_or_default();
        if !ownership::lies_under(name, &prefix) && ownership::lies_under(name, host) {
            return Err(PolicyError::AnotherProjects { name: shown(name) });
        }
        let whole =
            if ownership::lies_under(name, &prefix) { name.to_owned() } else { format!("{prefix}/{name}") };
        checked(whole, "PIPELINE_LOCK")
    }

    /// The name that a rule's template makes for this job.
    fn expand(&self, found: Found<'_>, template: &Template) -> Result<LockName, PolicyError> {
        let facts = self.values.facts;
        let rule = || self.reference(found);
        let prefix = match found.1.shared {
            Some(_) => None,
            None => Some(ownership::own_prefix(facts).ok_or(PolicyError::NoIdentity)?),
        };
        let missing = |name: &str| PolicyError::MissingVariable { rule: rule(), variable: name.to_owned() };
        let name = template.expand(|name| self.values.value(name).map_err(|_| missing(name)), missing)?;
        let forged = match prefix {
            Some(prefix) => !ownership::lies_under(&name, &prefix),
            None => ownership::shared_name_is_forged(template, &name, facts),
        };
        if forged {
            return Err(PolicyError::Forged { rule: rule(), name: shown(&name) });
        }
        checked(name, &rule().to_string())
    }

    /// The lock `name` of the job's own project, which the job names itself, by the rule that makes this name:
    /// the one that matched, else one that would match as well. If there is none, by the one that matched.
    fn own_wanted(
        &self,
        name: LockName,
        rule: Option<Found<'_>>,
        ask: &Ask,
    ) -> Result<WantedLock, PolicyError> {
        let others = self.config.rules.iter().enumerate();
        let others = others.filter(|(_, other)| self.matches(other) == Verdict::Yes);
        let maker = rule.into_iter().chain(others).find(|found| {
            let mut made = found.1.names.iter().map(|template| self.expand(*found, template));
            found.1.shared.is_none() && made.any(|made| made.as_ref() == Ok(&name))
        });
        self.wish(maker.or(rule), maker.is_some(), ask).wanted(name)
    }

    fn wish<'b>(&'b self, rule: Option<Found<'b>>, by_rule: bool, ask: &'b Ask) -> Wish<'b> {
        let rule = rule.map(|found| (self.reference(found), found.1));
        Wish { config: self.config, facts: self.values.facts, ask, rule, by_rule }
    }
}

fn checked(name: String, rule: &str) -> Result<LockName, PolicyError> {
    if let Some(odd) = ownership::odd_part(&name) {
        return Err(PolicyError::OddPart { odd: odd.to_owned(), name: shown(&name) });
    }
    LockName::new(name).map_err(|why| PolicyError::Name { rule: rule.to_owned(), why })
}
