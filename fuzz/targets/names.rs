//! Name templates with hostile variables: a lock is the job's own project's, or the job fails with one error.
//!
//! The input is lines: the template, then values for the variables that an author sets. Their names are fixed.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pipeline_lock::config::{Environment, JobFacts, JobVariables, Template, decide, load_with};

const JOB: &[u8] = include_bytes!("../../tests/fixtures/job-v19.json");
const OWN: &str = "gitlab.example.com/infra/network/edge-router";
const NAMES: [&str; 8] = [
    "CI_ENVIRONMENT_NAME",
    "CI_PROJECT_PATH",
    "CI_SERVER_HOST",
    "CI_COMMIT_REF_NAME",
    "X",
    "PIPELINE_LOCK",
    "PIPELINE_LOCK_WAIT",
    "PIPELINE_LOCK_PRIORITY",
];

fuzz_target!(|text: &str| {
    let (template, values) = text.split_once('\n').unwrap_or((text, ""));
    if let Err(error) = Template::parse(template) {
        assert!(!error.to_string().contains(char::is_control), "a log shows it: {error}");
    }
    let environment = Environment { root: true, ..Environment::default() };
    let quoted = serde_json::to_string(template).expect("a text");
    let file = format!("locks:\n  - name: {quoted}\n");
    let Ok(config) = load_with(Some(Path::new("f")), &environment, |_| Ok(file.clone())) else { return };
    let variables: JobVariables = NAMES.into_iter().zip(values.split('\u{1}')).collect();
    let facts = JobFacts::from_json(JOB).expect("the fixture is a job");
    match decide(&config, &facts, &variables) {
        Ok(decision) => {
            for lock in &decision.locks {
                let name = lock.name.as_str();
                let rest = name.strip_prefix(OWN);
                assert!(
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':'])),
                    "{name:?} is not this project's"
                );
                assert!(name.len() <= 255 && !name.contains(char::is_control), "{name:?} is no name");
                assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")), "{name:?} is odd");
            }
            let told = decision.notes.join("") + &decision.explain().to_string();
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "a log shows it: {told:?}");
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "a log shows it: {error}");
        }
    }
});
