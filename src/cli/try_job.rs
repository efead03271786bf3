//! `try`: a job through the four stages, as GitLab Runner runs it: the same processes, environment, folder,
//! pipes and exit codes. So a job can be seen under its lock without a GitLab.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Exit, args::TryArgs};
use crate::{executor::Signals, report};

/// The runner tries prepare this often, and pauses in between.
const PREPARE_TRIES: usize = 3;
const PREPARE_PAUSE: Duration = Duration::from_secs(3);

/// The job's host, as its lock names show it.
const HOST: &str = "try.localhost";

/// Runs the job. `file` is the configuration that the stages read.
pub fn run(args: &TryArgs, file: Option<&Path>) -> anyhow::Result<Exit> {
    let job = Job::new(args, file)?;
    let ended = job.run();
    let _ = fs::remove_dir_all(&job.tmpdir);
    ended
}

/// A job as the runner has it.
struct Job {
    tmpdir: PathBuf,
    file: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    script: String,
    signals: Signals,
}

/// How a stage ended, in the runner's terms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    BuildFailure,
    SystemFailure,
    /// This process was told to end, and told the stage.
    Told(u8),
}

impl Job {
    fn new(args: &TryArgs, file: Option<&Path>) -> anyhow::Result<Self> {
        let id = u64::from(std::process::id()) << 16 | (crate::host::clock::wall_ms() & 0xffff);
        let tmpdir = std::env::temp_dir().join(format!("pipeline-lock-try-{id}"));
        fs::DirBuilder::new().mode(0o700).create(&tmpdir).context("no folder for the job")?;
        let variables = variables(args, id);
        let response = json!({
            "id": id,
            "token": "try",
            "job_info": {
                "name": args.job, "stage": "test", "project_id": 1,
                "project_name": args.project.rsplit('/').next(), "pipeline_id": id,
            },
            "git_info": {
                "repo_url": format!("https://gitlab-ci-token:try@{HOST}/{}.git", args.project),
                "ref": "main", "sha": "0".repeat(40), "ref_type": "branch", "protected": false,
            },
            "runner_info": { "timeout": 3600 },
            "variables": variables.iter().map(|(key, value)| json!({ "key": key, "value": value }))
                .collect::<Vec<_>>(),
            "steps": [],
            "features": {},
        });
        private(&tmpdir.join("response.json"), 0o600)?.write_all(&serde_json::to_vec(&response)?)?;
        let script = script(&args.command)?;
        let file = file.map(std::path::absolute).transpose()?;
        Ok(Self { tmpdir, file, variables, script, signals: Signals::handle()? })
    }

    fn run(&self) -> anyhow::Result<Exit> {
        let mut job_env = BTreeMap::new();
        for round in 1..=PREPARE_TRIES {
            job_env = self.config()?;
            let prepared = self.stage(&["prepare"], &job_env, false)?;
            match prepared {
                Ended::Well => break,
                Ended::SystemFailure if round < PREPARE_TRIES => {
                    self.cleanup(&job_env)?;
                    report::warn("try: prepare failed and is tried again, as the runner does");
                    thread::sleep(PREPARE_PAUSE);
                }
                _ => {
                    self.cleanup(&job_env)?;
                    return Ok(self.exit(prepared));
                }
            }
        }
        let ended = self.script_stage("build_script", &job_env);
        self.cleanup(&job_env)?;
        Ok(self.exit(ended?))
    }

    fn exit(&self, ended: Ended) -> Exit {
        match ended {
            Ended::Well => Exit::Done,
            Ended::SystemFailure => Exit::Unusable,
            Ended::Told(number) => Exit::Code(128 + number),
            Ended::BuildFailure => {
                let code = fs::read_to_string(self.tmpdir.join("build_exit_code")).ok();
                Exit::Code(code.and_then(|code| code.trim().parse().ok()).unwrap_or(1))
            }
        }
    }

    fn config(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let output = self.command(&["config"], &BTreeMap::new())?.output()?;
        io::stderr().write_all(&output.stderr)?;
        anyhow::ensure!(output.status.success(), "the config stage failed ({})", output.status);
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("the config stage's answer is no JSON")?;
        Ok(serde_json::from_value(answer["job_env"].clone())?)
    }

    fn script_stage(&self, name: &str, job_env: &BTreeMap<String, String>) -> anyhow::Result<Ended> {
        let folder = self.tmpdir.join("script1");
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let script = folder.join("script");
        private(&script, 0o700)?.write_all(self.script.as_bytes())?;
        let script = script.to_str().context("the folder for temporary files has an odd name")?;
        self.stage(&["run", script, name], job_env, false)
    }

    fn cleanup(&self, job_env: &BTreeMap<String, String>) -> anyhow::Result<()> {
        self.stage(&["cleanup"], job_env, true).map(drop)
    }

    /// Runs one stage in a process group of its own, its output through pipes; passes TERM and INT on as the
    /// runner does, but for cleanup, which nothing cancels.
    fn stage(
        &self,
        args: &[&str],
        job_env: &BTreeMap<String, String>,
        is_cleanup: bool,
    ) -> anyhow::Result<Ended> {
        let mut child = self.command(args, job_env)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let relays = [relay(child.stdout.take(), io::stdout()), relay(child.stderr.take(), io::stderr())];
        let told = self.wait(&mut child, is_cleanup)?;
        let status = child.wait()?;
        relays.into_iter().flatten().for_each(|relay| drop(relay.join()));
        Ok(told.map_or_else(|| ended(status), Ended::Told))
    }

    fn wait(&self, child: &mut Child, is_cleanup: bool) -> anyhow::Result<Option<u8>> {
        let pid = Pid::from_child(child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let mut told = None;
        loop {
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            fds.extend(self.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            if let Err(error) = poll(&mut fds, None)
                && error != rustix::io::Errno::INTR
            {
                return Err(error.into());
            }
            if !fds[0].revents().is_empty() {
                return Ok(told);
            }
            for number in self.signals.take() {
                if matches!(number, SIGINT | SIGTERM) && !is_cleanup {
                    told = Some(u8::try_from(number)?);
                    let _ = kill_process_group(pid, Signal::TERM);
                }
            }
        }
    }

    fn command(&self, args: &[&str], job_env: &BTreeMap<String, String>) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(file) = &self.file {
            command.arg("--config").arg(file);
        }
        command
            .arg("executor")
            .args(args)
            .current_dir(&self.tmpdir)
            .process_group(0)
            .stdin(Stdio::null())
            .env("TMPDIR", &self.tmpdir)
            .env("BUILD_FAILURE_EXIT_CODE", "1")
            .env("SYSTEM_FAILURE_EXIT_CODE", "2")
            .env("BUILD_EXIT_CODE_FILE", self.tmpdir.join("build_exit_code"))
            .env("JOB_RESPONSE_FILE", self.tmpdir.join("response.json"))
            .envs(job_env)
            .envs(self.variables.iter().map(|(key, value)| (format!("CUSTOM_ENV_{key}"), value)));
        Ok(command)
    }
}

fn ended(status: ExitStatus) -> Ended {
    match status.code() {
        Some(0) => Ended::Well,
        Some(1) => Ended::BuildFailure,
        _ => Ended::SystemFailure,
    }
}

fn relay(
    from: Option<impl io::Read + Send + 'static>,
    mut to: impl Write + Send + 'static,
) -> Option<JoinHandle<()>> {
    let mut from = from?;
    Some(thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(got @ 1..) = from.read(&mut buffer) {
            let _ = to.write_all(&buffer[..got]).and_then(|()| to.flush());
        }
    }))
}

fn variables(args: &TryArgs, id: u64) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = [
        ("CI", "true".to_owned()),
        ("CI_JOB_ID", id.to_string()),
        ("CI_JOB_NAME", args.job.clone()),
        ("CI_PIPELINE_ID", id.to_string()),
        ("CI_PROJECT_PATH", args.project.clone()),
        ("CI_SERVER_HOST", HOST.to_owned()),
        ("GITLAB_USER_LOGIN", std::env::var("USER").unwrap_or_default()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    variables.extend(args.variables.iter().cloned());
    variables
}

/// The script, in the shape that the runner gives it.
fn script(command: &[OsString]) -> anyhow::Result<String> {
    let dir = std::env::current_dir()?;
    let quoted = |word: &OsStr| -> anyhow::Result<String> {
        let word = word.to_str().context("the command has a word that is not UTF-8")?;
        Ok(format!("'{}'", word.replace('\'', r"'\''")))
    };
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect::<anyhow::Result<_>>()?;
    Ok(format!(
        "#!/usr/bin/env bash\n\ntrap 'exit 1' TERM\n\nset -eo pipefail\nset +o noclobber\n: | (\ncd {}\n{}\n)\n\nexit 0\n",
        quoted(dir.as_os_str())?,
        words.join(" ")
    ))
}

fn private(path: &Path, mode: u32) -> io::Result<fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}
