//! The config stage: hands the job's token, the state folder and the runner's identity to the other stages.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::environment::{RUNNER_VARIABLE, STATE_VARIABLE, parent, show_process};
use crate::{config::Config, keeper::TOKEN_VARIABLE, lock::Token};

/// What the runner reads from the config stage's output.
#[derive(Debug, Serialize)]
struct Answer {
    driver: Driver,
    job_env: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builds_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_dir: Option<PathBuf>,
    /// Jobs share this host's folder, whoever named it. Without this the runner takes it for a machine of the job's
    /// own, and concurrent jobs of a project would work in the same directory.
    builds_dir_is_shared: bool,
}

#[derive(Debug, Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
}

/// The config stage's output. With no `builds_dir` or `cache_dir` in the file, the runner's own stay.
pub fn config(config: &Config) -> String {
    let mut job_env = BTreeMap::new();
    job_env.insert(TOKEN_VARIABLE, Token::new(Uuid::new_v4()).to_string());
    job_env.insert(STATE_VARIABLE, config.state.to_string_lossy().into_owned());
    if let Some(runner) = parent() {
        job_env.insert(RUNNER_VARIABLE, show_process(runner));
    }
    let answer = Answer {
        driver: Driver { name: "pipeline-lock", version: env!("CARGO_PKG_VERSION") },
        job_env,
        builds_dir_is_shared: true,
        builds_dir: config.builds_dir.clone(),
        cache_dir: config.cache_dir.clone(),
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn jobs_share_the_folder_for_builds_and_nothing_else_is_set_unless_the_file_does() {
        let environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
        let config = Config::built_in(&environment).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&super::config(&config)).unwrap();
        assert_eq!(answer["builds_dir_is_shared"], true);
        assert!(answer.get("builds_dir").is_none() && answer.get("cache_dir").is_none(), "{answer}");
    }
}
