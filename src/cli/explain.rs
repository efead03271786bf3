//! `explain`: which locks a job gets, by which rule, and why. Nothing is asked of any store.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use super::{Exit, args::ExplainArgs, exit::Usage, here_job::HereJob, variables::own_variables};
use crate::{
    config::{Config, JobFacts},
    report::{self, clean},
};

/// What a made-up job has unless it is said; as in `try`.
const MADE_UP: [(&str, &str); 9] = [
    ("CI_JOB_ID", "1"),
    ("CI_JOB_NAME", "job"),
    ("CI_JOB_STAGE", "test"),
    ("CI_PIPELINE_ID", "1"),
    ("CI_SERVER_HOST", "try.localhost"),
    ("CI_PROJECT_ID", "1"),
    ("CI_COMMIT_SHA", "0000000000000000000000000000000000000000"),
    ("CI_COMMIT_REF_NAME", "main"),
    ("CI_COMMIT_REF_PROTECTED", "false"),
];

/// Explains.
pub fn run(args: &ExplainArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = job(args)?;
    match job.decide(config) {
        Ok(decision) => {
            let explanation = decision.explain();
            let text = if args.json {
                serde_json::to_string_pretty(&explanation)?
            } else {
                let text = explanation.to_string();
                text.lines().map(clean).collect::<Vec<_>>().join("\n")
            };
            report::say(&text);
            Ok(Exit::Done)
        }
        Err(error) => {
            let error = error.to_string();
            report::say(&if args.json {
                serde_json::to_string_pretty(&json!({ "error": error }))?
            } else {
                format!("The job fails: {}", clean(&error))
            });
            Ok(Exit::NotGot)
        }
    }
}

/// The job that is asked about: the one of the file, the one around this process, or a made-up one.
fn job(args: &ExplainArgs) -> anyhow::Result<HereJob> {
    if let Some(file) = &args.job_json {
        let facts = JobFacts::read(file)?;
        let mut variables = variables_of(file)?;
        variables.extend(said(args));
        return Ok(HereJob::handed_over(facts, variables));
    }
    let mut variables = own_variables();
    if variables.get("CI_JOB_ID").is_none_or(String::is_empty) {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables = MADE_UP.into_iter().map(owned).collect();
    }
    variables.extend(said(args));
    if !variables.contains_key("CI_PROJECT_PATH") {
        return Err(Usage("which job? Give --project PATH, or --job-json FILE (this is no CI job)").into());
    }
    HereJob::of(variables).context("CI_JOB_ID is no number")
}

/// The variables that the command line names.
fn said(args: &ExplainArgs) -> BTreeMap<String, String> {
    let named = [
        ("CI_PROJECT_PATH", &args.project),
        ("CI_COMMIT_REF_NAME", &args.git_ref),
        ("CI_ENVIRONMENT_NAME", &args.environment),
    ];
    let mut said: BTreeMap<String, String> =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
    said.extend(args.variables.iter().cloned());
    said
}

/// The variables of a job as the runner hands it over. References to others in their values stay as they are.
fn variables_of(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let job: Value = serde_json::from_slice(&fs::read(file)?)?;
    let list = job["variables"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(list.iter().filter_map(|entry| Some((text(&entry["key"])?, text(&entry["value"])?))).collect())
}
