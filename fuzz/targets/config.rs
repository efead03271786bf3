//! The configuration file: any text is a configuration or one error that says where and what.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pipeline_lock::config::{Config, Environment, JobFacts, JobVariables, decide, load_with};

const JOB: &[u8] = include_bytes!("../../tests/fixtures/job-v19.json");

fuzz_target!(|text: &str| {
    match read(text) {
        Ok(config) => use_it(&config),
        Err(message) => {
            assert!(message.starts_with("config.yaml"), "the file is named: {message:?}");
            assert!(!message.contains(is_odd), "a log shows it: {message:?}");
            assert!(message.len() < 4096, "one clear error: {} bytes", message.len());
        }
    }
});

fn read(text: &str) -> Result<Config, String> {
    let environment = Environment { root: true, ..Environment::default() };
    load_with(Some(Path::new("config.yaml")), &environment, |_| Ok(text.to_owned()))
        .map_err(|error| error.to_string())
}

/// What may stand in a message over several lines, as a parser's excerpt is.
fn is_odd(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// Whoever wrote the file, the locks of a job are its own project's, or shared by the file's word.
fn use_it(config: &Config) {
    assert!(config.lease > config.heartbeat, "a holder renews before its lease ends");
    let facts = JobFacts::from_json(JOB).expect("the fixture is a job");
    let shared = config.rules.iter().any(|rule| rule.shared.is_some());
    for variables in [vec![], vec![("PIPELINE_LOCK", "gitlab.example.com/other/project, deploy")]] {
        let variables: JobVariables = variables.into_iter().collect();
        let decided = decide(config, &facts, &variables);
        for lock in decided.iter().flat_map(|decision| &decision.locks) {
            let rest = lock.name.as_str().strip_prefix("gitlab.example.com/infra/network/edge-router");
            let own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']));
            assert!(own || shared, "{} is not this project's", lock.name);
        }
        if let Err(error) = decided {
            assert!(!error.to_string().contains(is_odd), "a log shows it: {error:?}");
        }
    }
}
