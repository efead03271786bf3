//! Why a job gets no decision, said to the author of the job.

use std::time::Duration;

use thiserror::Error;

use super::duration::show_duration;
use super::rule_ref::RuleRef;
use crate::lock::NameError;

/// Why it can't be decided which locks a job takes. The job fails; no lock is taken, and none is left out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// One of the job's variables can't be used. Correct it in `.gitlab-ci.yml`.
    #[error("{variable}: {why}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it, and what would do.
        why: String,
    },
    /// The job would wait longer than the file allows. Ask for less, or have the operator raise it.
    #[error("PIPELINE_LOCK_WAIT is {}, but {rule} allows at most {}", show_duration(*asked), show_duration(*most))]
    WaitTooLong {
        /// What the job asks for.
        asked: Duration,
        /// What it may.
        most: Duration,
        /// Which rule says so, or which file.
        rule: String,
    },
    /// The job would go before others that the file puts before it. Ask for less, or have the operator raise
    /// `max_priority`.
    #[error(
        "PIPELINE_LOCK_PRIORITY is {asked}, but {rule} allows at most {most} (`max_priority`): lower it or drop it"
    )]
    PriorityTooHigh {
        /// What the job asks for.
        asked: i32,
        /// What it may.
        most: i32,
        /// Which rule says so, or which file.
        rule: String,
    },
    /// The job would hold together with others a lock that its rule gives to one at a time. Drop the variable,
    /// or have the operator allow it.
    #[error(
        "{variable} is `{asked}`, but {rule} has `{rule_has}` and lets its jobs share no more than that: drop the variable, or have `jobs_may_share: true` added to the rule"
    )]
    MayNotShare {
        /// The variable.
        variable: &'static str,
        /// What the job asks for.
        asked: String,
        /// The rule.
        rule: RuleRef,
        /// What the rule says.
        rule_has: String,
    },
    /// The rule has its jobs take its own locks. Drop `PIPELINE_LOCK`, or have the operator allow it.
    #[error(
        "PIPELINE_LOCK is set, but {rule} lets its jobs choose no locks (`jobs_may_choose: false`): drop it"
    )]
    MayNotChoose {
        /// The rule.
        rule: RuleRef,
    },
    /// The rule has its jobs take a lock. Drop `PIPELINE_LOCK: none`, or have the operator allow it.
    #[error("PIPELINE_LOCK is `none`, but {rule} has every job take its lock (`opt_out: false`): drop it")]
    MayNotOptOut {
        /// The rule.
        rule: RuleRef,
    },
    /// A name that is shared, but not with this project. Have the operator add it to `projects`.
    #[error(
        "PIPELINE_LOCK: `{name}` is shared by {rule}, but not with project `{project}`: have it added to `projects`"
    )]
    NotSharedWith {
        /// The name.
        name: String,
        /// The rule that shares it.
        rule: RuleRef,
        /// The job's project.
        project: String,
    },
    /// A name of another project. Use a name of one's own, or one that the file shares.
    #[error(
        "PIPELINE_LOCK: `{name}` is the name of another project's lock: a job names locks of its own project, or shared ones"
    )]
    AnotherProjects {
        /// The name.
        name: String,
    },
    /// A rule's condition can't be told, as the runner doesn't say what it asks. Upgrade the runner, or change
    /// the rule.
    #[error(
        "{rule} asks for a job's {fact}, which this runner does not hand over in JOB_RESPONSE_FILE: upgrade the runner or change the rule's `match`"
    )]
    Untold {
        /// The rule.
        rule: RuleRef,
        /// What isn't known.
        fact: &'static str,
    },
    /// A setting needs to know something that the runner doesn't say. Upgrade the runner, or change the setting.
    #[error(
        "{what} needs the job's {fact}, which this runner does not hand over in JOB_RESPONSE_FILE: upgrade the runner or drop the setting"
    )]
    Unsaid {
        /// The setting, and whose it is.
        what: String,
        /// What isn't known.
        fact: &'static str,
    },
    /// The runner doesn't say which project the job is of, so no name can be its own.
    #[error(
        "this runner does not hand over the job's host and project (git_info.repo_url in JOB_RESPONSE_FILE), so no lock can be named after it"
    )]
    NoIdentity,
    /// A variable of the rule's name isn't set. Set it, or give the template a default.
    #[error(
        "{rule} names its lock by {{{variable}}}, which is not set (or empty, or not text) for this job: {}, or write {{{variable}|default:TEXT}} in the rule",
        way_out(variable)
    )]
    MissingVariable {
        /// The rule.
        rule: RuleRef,
        /// The variable.
        variable: String,
    },
    /// The name that came out has a part that other tools read as another place. Rename the environment or
    /// the ref, or use the filter `slug`.
    #[error(
        "the lock's name `{name}` has {}: names have no empty, `.` or `..` part; the rule's filter `|slug` makes one of any text",
        part(odd)
    )]
    OddPart {
        /// The name.
        name: String,
        /// The part.
        odd: String,
    },
    /// What a job's variables hold would make a shared name that could be another project's.
    #[error(
        "{rule} would make the shared name `{name}`, which lies on the instance itself, where it could be another project's: have the rule's name begin with other text"
    )]
    Forged {
        /// The rule.
        rule: RuleRef,
        /// The name.
        name: String,
    },
    /// The name that came out can't be a lock's. Shorten what goes into it, for example by `|hash`.
    #[error("{why} (made by {rule}; the filters `|slug` and `|hash` shorten a value)")]
    Name {
        /// Which rule made it, or which variable.
        rule: String,
        /// What is wrong with it.
        why: NameError,
    },
}

fn way_out(variable: &str) -> &'static str {
    match variable {
        "CI_ENVIRONMENT_NAME" | "CI_ENVIRONMENT_SLUG" => "give the job an `environment:`",
        "CI_COMMIT_TAG" => "run it for a tag",
        name if super::values::is_fact(name) => "upgrade the runner, which does not hand it over",
        _ => "set it in .gitlab-ci.yml",
    }
}

fn part(odd: &str) -> String {
    if odd.is_empty() { "an empty part".to_owned() } else { format!("the part `{odd}`") }
}
