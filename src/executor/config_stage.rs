//! The config stage: hands the job's token, the state folder and the runner's identity to the other stages. Around
//! another driver its answer is that driver's, with this one's added to it.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    environment::{RUNNER_VARIABLE, STATE_VARIABLE, parent, show_process},
    inner_config::{self, ConfigFailure},
};
use crate::{
    config::Config,
    keeper::{DRIVER_PREFIX, TOKEN_VARIABLE},
    lock::Token,
};

/// The config stage's output. With no `builds_dir` or `cache_dir` in the file or from the wrapped driver, the
/// runner's own stay.
pub fn config(config: &Config) -> Result<String, ConfigFailure> {
    let token = Token::new(Uuid::new_v4());
    let mut answer = match &config.driver {
        Some(driver) => inner_config::ask(driver, token)?,
        None => Map::new(),
    };
    answer.insert("job_env".into(), job_env(config, token, answer.get("job_env")));
    answer.insert("driver".into(), driver(answer.get("driver")));
    // Jobs share this host's folder, whoever named it. Without this the runner takes it for a machine of the job's
    // own, and concurrent jobs of a project would work in the same directory.
    answer.entry("builds_dir_is_shared").or_insert(Value::Bool(true));
    for (key, dir) in [("builds_dir", &config.builds_dir), ("cache_dir", &config.cache_dir)] {
        if let Some(dir) = dir {
            answer.entry(key).or_insert_with(|| json!(dir));
        }
    }
    Ok(Value::Object(answer).to_string())
}

fn job_env(config: &Config, token: Token, inner: Option<&Value>) -> Value {
    let mut env: Map<String, Value> = inner
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (format!("{DRIVER_PREFIX}{key}"), value.clone()))
        .collect();
    env.insert(TOKEN_VARIABLE.into(), json!(token.to_string()));
    env.insert(STATE_VARIABLE.into(), json!(config.state.to_string_lossy()));
    if let Some(runner) = parent() {
        env.insert(RUNNER_VARIABLE.into(), json!(show_process(runner)));
    }
    Value::Object(env)
}

/// What the job's log says it runs with: "Using Custom executor with driver NAME VERSION...".
fn driver(inner: Option<&Value>) -> Value {
    let (name, version) = ("pipeline-lock", env!("CARGO_PKG_VERSION"));
    match inner.and_then(|inner| inner["name"].as_str()) {
        Some(other) => {
            let inner_version = inner.and_then(|inner| inner["version"].as_str());
            json!({ "name": format!("{name} {version}, {other}"), "version": inner_version })
        }
        None => json!({ "name": name, "version": version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn jobs_share_the_folder_for_builds_and_nothing_else_is_set_unless_the_file_does() {
        let environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
        let config = Config::built_in(&environment).unwrap();
        let answer: Value = serde_json::from_str(&super::config(&config).unwrap()).unwrap();
        assert_eq!(answer["builds_dir_is_shared"], true);
        assert!(answer.get("builds_dir").is_none() && answer.get("cache_dir").is_none(), "{answer}");
    }

    #[test]
    fn the_jobs_log_names_both_drivers() {
        let ours = format!("pipeline-lock {}, lxd", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            driver(Some(&json!({ "name": "lxd", "version": "2" }))),
            json!({ "name": ours, "version": "2" })
        );
        assert_eq!(driver(None)["name"], "pipeline-lock");
    }
}
