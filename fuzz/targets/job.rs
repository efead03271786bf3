//! JOB_RESPONSE_FILE: any bytes are a job or one error, and no author's variable is taken for an identity.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline_lock::config::{Environment, JobFacts, JobVariables, decide, load_with};

fuzz_target!(|bytes: &[u8]| {
    let facts = match JobFacts::from_json(bytes) {
        Ok(facts) => facts,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "a log shows it: {message:?}");
            return;
        }
    };
    let environment = Environment { root: true, ..Environment::default() };
    let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let config = load_with(None, &environment, missing).expect("the built-in default");
    match decide(&config, &facts, &JobVariables::default()) {
        Ok(decision) => {
            let own = (facts.host.as_deref(), facts.project_path.as_deref());
            let (Some(host), Some(path)) = own else { panic!("a job of nowhere got {:?}", decision.locks) };
            assert!(!path.contains(':') && !host.contains('/'), "{host:?} {path:?} can run into another");
            for lock in &decision.locks {
                assert_eq!(lock.name.as_str(), format!("{host}/{path}"), "by the built-in rule");
            }
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "a log shows it: {error}");
        }
    }
});
