//! A job as GitLab hands it over, and its attempts as GitLab Runner makes them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Ended, Stage, host::Site};

/// Runners that differ in what they hand over and how they start a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One pipe for a stage's output and errors, no file for exit codes.
    V14,
    /// Two pipes, no file for exit codes (which came with 17.9).
    V17,
    /// Two pipes, a file for exit codes.
    V19,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub site: Site,
    version: Version,
    variables: BTreeMap<String, String>,
    pipeline: u64,
    /// How long the job may take, in seconds.
    pub timeout: u64,
}

/// One attempt of a job: the runner's folder for it, and what the config stage told.
pub struct Attempt {
    pub job: Job,
    pub dir: PathBuf,
    pub env: BTreeMap<String, String>,
}

impl Job {
    pub fn new(site: &Site, id: u64) -> Self {
        Self {
            id,
            site: site.clone(),
            version: Version::V19,
            variables: BTreeMap::new(),
            pipeline: 900 + id,
            timeout: 3600,
        }
    }

    pub fn of_version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    pub fn of_pipeline(mut self, pipeline: u64) -> Self {
        self.pipeline = pipeline;
        self
    }

    /// Sets a variable as the job's author does it.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// A new attempt, with the folder that the runner makes for it.
    pub fn folder(&self) -> Attempt {
        let dir = self.site.dir.join("tmp").join(format!("custom-executor{}", uuid::Uuid::new_v4().simple()));
        private_dir(&dir);
        private(&dir.join("response.json"), 0o600, self.response().to_string().as_bytes());
        Attempt { job: self.clone(), dir, env: BTreeMap::new() }
    }

    /// A new attempt after its config stage.
    #[track_caller]
    pub fn attempt(&self) -> Attempt {
        let mut attempt = self.folder();
        let ended = attempt.config().with_code(0);
        let answer: Value = serde_json::from_slice(&ended.out).expect("config answers in JSON");
        attempt.env = serde_json::from_value(answer["job_env"].clone()).expect("job_env are texts");
        attempt
    }

    /// A new attempt that has its locks.
    #[track_caller]
    pub fn prepared(&self) -> Attempt {
        let attempt = self.attempt();
        attempt.prepare().end().with_code(0);
        attempt
    }

    /// What the runner writes into JOB_RESPONSE_FILE.
    fn response(&self) -> Value {
        let text = match self.version {
            Version::V14 => include_str!("../fixtures/job-v14.json"),
            Version::V17 => include_str!("../fixtures/job-v17.json"),
            Version::V19 => include_str!("../fixtures/job-v19.json"),
        };
        let mut job: Value = serde_json::from_str(text).expect("a fixture is JSON");
        job["id"] = json!(self.id);
        job["job_info"]["name"] = json!(format!("deploy-{}", self.id));
        job["job_info"]["project_name"] = json!("web");
        for (key, value) in [("project_full_path", json!("shop/web")), ("pipeline_id", json!(self.pipeline))]
        {
            if !job["job_info"][key].is_null() {
                job["job_info"][key] = value;
            }
        }
        job["runner_info"]["timeout"] = json!(self.timeout);
        job["git_info"]["repo_url"] =
            json!("https://gitlab-ci-token:s3cr3t-job-token@gitlab.example.com/shop/web.git");
        let mut variables: Vec<Value> = job["variables"].as_array().expect("a list").clone();
        for variable in &mut variables {
            let name = variable["key"].as_str().expect("a text").to_owned();
            if let Some((_, value)) = self.own().into_iter().find(|(key, _)| *key == name) {
                variable["value"] = json!(value);
            }
        }
        variables.extend(
            self.variables.iter().map(|(key, value)| json!({ "key": key, "value": value, "public": true })),
        );
        job["variables"] = json!(variables);
        job
    }

    /// The variables of the job's environment: GitLab's and the author's.
    pub fn environment(&self) -> Vec<(&str, String)> {
        let authors = self.variables.iter().map(|(key, value)| (key.as_str(), value.clone()));
        self.own().into_iter().chain(authors).collect()
    }

    /// The variables that GitLab itself sets.
    fn own(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CI_JOB_ID", self.id.to_string()),
            ("CI_JOB_NAME", format!("deploy-{}", self.id)),
            ("CI_PIPELINE_ID", self.pipeline.to_string()),
            ("CI_PROJECT_ID", "278".into()),
            ("CI_PROJECT_PATH", "shop/web".into()),
            ("CI_COMMIT_REF_NAME", "main".into()),
            ("CI_SERVER_HOST", "gitlab.example.com".into()),
        ]
    }

    /// The job's variables, the later ones of a name over the earlier.
    fn all_variables(&self) -> BTreeMap<String, String> {
        let response = self.response();
        let list = response["variables"].as_array().expect("a list").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: BTreeMap<_, _> = list.map(|v| (text(&v["key"]), text(&v["value"]))).collect();
        all.insert("CI_JOB_SERVICES".into(), String::new());
        all
    }
}

impl Attempt {
    /// A stage's command, as the runner has it before it starts it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.job.site.program("config.yaml");
        command
            .arg("executor")
            .args(args)
            .current_dir(&self.dir)
            .env("TMPDIR", &self.dir)
            .env("BUILD_FAILURE_EXIT_CODE", "1")
            .env("SYSTEM_FAILURE_EXIT_CODE", "2")
            .env("JOB_RESPONSE_FILE", self.dir.join("response.json"));
        if self.job.version == Version::V19 {
            command.env("BUILD_EXIT_CODE_FILE", self.dir.join("build_exit_code"));
        }
        command.envs(&self.env);
        command
            .envs(self.job.all_variables().iter().map(|(key, value)| (format!("CUSTOM_ENV_{key}"), value)));
        command
    }

    fn start(&self, args: &[&str]) -> Stage {
        let one_pipe = self.job.version == Version::V14 && args[0] != "config" && args[0] != "cleanup";
        Stage::start(self.command(args), one_pipe)
    }

    #[track_caller]
    pub fn config(&self) -> Ended {
        self.start(&["config"]).end()
    }

    pub fn prepare(&self) -> Stage {
        self.start(&["prepare"])
    }

    /// Starts `lines` as one stage of the job, in the form that the runner gives a script.
    pub fn run(&self, stage: &str, lines: &str) -> Stage {
        self.start(&["run", &self.script(lines), stage])
    }

    /// Runs `lines` to their end, as the stage of the job's own script.
    #[track_caller]
    pub fn script_ends(&self, lines: &str) -> Ended {
        self.run("build_script", lines).end()
    }

    /// Writes a script as the runner does, and tells its path.
    pub fn script(&self, lines: &str) -> String {
        let variables = self.job.environment().into_iter().filter(|(_, value)| value.len() < 1000);
        let exports: String = variables.map(|(key, value)| format!("export {key}={value}\n")).collect();
        self.raw_script(&format!(
            "#!/usr/bin/env bash\n\ntrap 'exit 1' TERM\n\nset -eo pipefail\nset +o noclobber\n: | (\n{exports}{lines}\n)\n\nexit 0\n"
        ))
    }

    /// Writes a script of any text.
    pub fn raw_script(&self, text: &str) -> String {
        let dir = self.dir.join(format!("script{}", uuid::Uuid::new_v4().simple()));
        private_dir(&dir);
        let path = dir.join("script");
        private(&path, 0o700, text.as_bytes());
        path.to_str().expect("the folder has a plain name").to_owned()
    }

    #[track_caller]
    pub fn cleanup(&self) -> Ended {
        self.start(&["cleanup"]).end()
    }

    /// Cleanup, but not yet what the runner does after it.
    #[track_caller]
    pub fn finish_but_the_folder(&self) -> Ended {
        self.cleanup().with_code(0)
    }

    /// The runner removes its folder after cleanup.
    #[track_caller]
    pub fn finish(&self) -> Ended {
        let ended = self.finish_but_the_folder();
        fs::remove_dir_all(&self.dir).expect("the folder is the runner's own");
        ended
    }

    pub fn token(&self) -> String {
        self.env["PIPELINE_LOCK_TOKEN"].clone()
    }
}

fn private_dir(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).expect("the folder is writable");
}

fn private(path: &Path, mode: u32, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("the folder is writable");
}
