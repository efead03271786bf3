//! The locks that a command is about: those that were named, else those that the file's rules give this CI job.

use std::{collections::BTreeSet, time::Duration};

use super::{exit::Usage, here_job::HereJob, manner_args::MannerArgs};
use crate::{
    config::{Config, Decision, WantedLock},
    lock::LockName,
};

/// The locks and how they are taken; `wait` goes before what the file says.
pub fn wanted(
    names: &[String],
    manner: &MannerArgs,
    wait: Option<Duration>,
    job: Option<&HereJob>,
    config: &Config,
) -> anyhow::Result<Decision> {
    if names.is_empty() {
        let mut decision = of_the_rules(job, config)?;
        for lock in &mut decision.locks {
            lock.wait = wait.unwrap_or(lock.wait);
        }
        return Ok(decision);
    }
    let one = |name| manner.of(WantedLock::plain(name, wait.unwrap_or(config.wait)));
    Ok(Decision {
        locks: named(names)?.into_iter().map(one).collect(),
        rule: None,
        why: "the command names its locks".into(),
        passed_over: Vec::new(),
        release_after: false,
        parent: None,
        notes: Vec::new(),
    })
}

/// The names alone.
pub fn lock_names(names: &[String], job: Option<&HereJob>, config: &Config) -> anyhow::Result<Vec<LockName>> {
    match names {
        [] => Ok(of_the_rules(job, config)?.locks.into_iter().map(|lock| lock.name).collect()),
        names => named(names),
    }
}

fn named(names: &[String]) -> anyhow::Result<Vec<LockName>> {
    let mut seen = BTreeSet::new();
    let names = names.iter().map(|name| {
        let name = LockName::new(name.as_str())?;
        anyhow::ensure!(seen.insert(name.clone()), "lock {name} is named twice: name each lock once");
        Ok(name)
    });
    names.collect()
}

fn of_the_rules(job: Option<&HereJob>, config: &Config) -> anyhow::Result<Decision> {
    let job = job.ok_or(Usage("which lock? Give --name NAME (outside of a CI job no rule names one)"))?;
    let decision = job.decision(config)?;
    anyhow::ensure!(
        !decision.locks.is_empty(),
        "the file's rules give this job no lock ({}); name one with --name",
        decision.why
    );
    Ok(decision)
}
