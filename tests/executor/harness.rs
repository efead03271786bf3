//! A job as GitLab Runner runs it: the real stages, with its environment, folder and process groups.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host: its configuration, state and store.
pub struct Host {
    dir: tempfile::TempDir,
}

/// One attempt of a job: what config made, and the runner's folder.
pub struct Job {
    host: PathBuf,
    tmpdir: PathBuf,
    env: BTreeMap<String, String>,
}

/// A stage that runs.
pub struct Stage(Child);

impl Host {
    /// A host with the local store; `more` is added to its file.
    pub fn new(more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pl-").tempdir().unwrap();
        let path = dir.path().display();
        let file = format!("store: {{ local: {{ path: {path}/locks.db }} }}\nstate: {path}/state\n{more}\n");
        fs::write(dir.path().join("config.yaml"), file).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program with this host's file.
    pub fn command(&self, args: &[&str]) -> Command {
        command(self.path(), args)
    }

    /// A job's next attempt: its folder and its config stage.
    pub fn job(&self, id: u64) -> Job {
        let tmpdir = self.path().join(format!("job-{id}-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&tmpdir).unwrap();
        fs::set_permissions(&tmpdir, fs::Permissions::from_mode(0o700)).unwrap();
        let response = json!({
            "id": id, "token": "secret-token",
            "job_info": { "name": format!("deploy-{id}"), "stage": "test", "project_id": 7 },
            "git_info": { "repo_url": "https://ci:secret@git.example/shop/web.git", "ref": "main" },
            "runner_info": { "timeout": 3600 },
            "variables": [], "steps": [], "features": {},
        });
        fs::write(tmpdir.join("response.json"), response.to_string()).unwrap();
        let mut job = Job { host: self.path().to_owned(), tmpdir, env: BTreeMap::new() };
        let answer: Value = serde_json::from_slice(&job.stage(&["config"]).output().unwrap().stdout).unwrap();
        job.env = serde_json::from_value(answer["job_env"].clone()).unwrap();
        job
    }

    /// The lock of the jobs, as `status` tells it.
    pub fn status(&self) -> Value {
        let output = self.command(&["status", "git.example/shop/web", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ids of the jobs in `list` (`holders` or `queue`).
    pub fn jobs(&self, list: &str) -> Vec<u64> {
        let status = self.status();
        let jobs = status[list].as_array().unwrap().iter();
        jobs.map(|entry| entry["who"]["job_id"].as_u64().unwrap_or(0)).collect()
    }

    /// Waits until the lock is free, and nothing is left of any job on this host.
    pub fn nothing_is_left(&self) {
        eventually("the lock is free", || self.jobs("holders").is_empty() && self.jobs("queue").is_empty());
        let empty =
            |path: &str| fs::read_dir(self.path().join(path)).is_ok_and(|mut dir| dir.next().is_none());
        eventually("no keeper's folder is left", || empty("state/jobs"));
        eventually("no presence file is left", || empty("locks.db.d/holds"));
    }
}

impl Job {
    fn stage(&self, args: &[&str]) -> Command {
        let mut command = command(&self.host, &[&["executor"], args].concat());
        command
            .current_dir(&self.tmpdir)
            .process_group(0)
            .stdin(Stdio::null())
            .env("TMPDIR", &self.tmpdir)
            .env("BUILD_FAILURE_EXIT_CODE", "1")
            .env("SYSTEM_FAILURE_EXIT_CODE", "2")
            .env("BUILD_EXIT_CODE_FILE", self.tmpdir.join("build_exit_code"))
            .env("JOB_RESPONSE_FILE", self.tmpdir.join("response.json"))
            .env("CUSTOM_ENV_CI_JOB_NAME", "forged")
            .env("AWS_SECRET_ACCESS_KEY", "the-driver's-own")
            .envs(&self.env);
        command
    }

    pub fn prepare(&self) -> Stage {
        Stage(self.stage(&["prepare"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Starts a script as one stage.
    pub fn run(&self, name: &str, script: &str) -> Stage {
        let folder = self.tmpdir.join(format!("script-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("script");
        fs::write(&file, script).unwrap();
        let args = ["run", file.to_str().unwrap(), name];
        Stage(self.stage(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn cleanup(&self) -> Output {
        self.stage(&["cleanup"]).output().unwrap()
    }

    /// The job's own exit code, as the runner reads it.
    pub fn exit_code(&self) -> String {
        fs::read_to_string(self.tmpdir.join("build_exit_code")).unwrap_or_default().trim().to_owned()
    }

    /// The process of the job's keeper.
    pub fn keeper(&self) -> Pid {
        let record = Path::new(&self.env["PIPELINE_LOCK_STATE"])
            .join("jobs")
            .join(&self.env["PIPELINE_LOCK_TOKEN"])
            .join("keeper.json");
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        Pid::from_raw(i32::try_from(record["pid"].as_i64().unwrap()).unwrap()).unwrap()
    }
}

impl Stage {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// As the runner does it: to the whole process group.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).unwrap();
    }

    pub fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Waits for the end: the exit code, and what was said.
    pub fn end(self) -> (Option<i32>, String) {
        let output = self.0.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn command(host: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline-lock"));
    command.arg("--config").arg(host.join("config.yaml")).args(args);
    command
}

/// Waits for `condition`, and fails when it does not come.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "did not come: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process with this command line lives.
pub fn lives(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(marker)
    })
}
