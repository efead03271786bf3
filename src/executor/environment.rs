//! What the runner gives a stage in its environment.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use crate::{
    host::process::{Pid, ProcId},
    keeper::TOKEN_VARIABLE,
    lock::Token,
};

/// The state folder, as the config stage found it in the file.
pub const STATE_VARIABLE: &str = "PIPELINE_LOCK_STATE";

/// The runner's process, as the config stage saw its parent: `PID:START`.
pub const RUNNER_VARIABLE: &str = "PIPELINE_LOCK_RUNNER";

/// A stage's environment.
#[derive(Clone, Debug)]
pub struct StageEnvironment {
    /// The exit code for the job's own failure.
    pub build_failure: u8,
    /// The exit code for a failure of ours.
    pub system_failure: u8,
    /// Where the job's own exit code goes; runners before 17.9 have no such file.
    pub exit_code_file: Option<PathBuf>,
    /// The job as the runner got it.
    pub job_response_file: Option<PathBuf>,
    /// The runner's folder for this job.
    pub tmpdir: Option<PathBuf>,
    /// The job's token, which the config stage made.
    pub token: Option<Token>,
    /// The state folder.
    pub state: Option<PathBuf>,
    /// The runner's process, if prepare and config have the same parent.
    pub runner: Option<ProcId>,
}

impl StageEnvironment {
    /// Reads this process's environment.
    pub fn read() -> Self {
        let code = |name, default| env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
        let path = |name| env::var_os(name).filter(|v: &OsString| !v.is_empty()).map(PathBuf::from);
        Self {
            build_failure: code("BUILD_FAILURE_EXIT_CODE", 1),
            system_failure: code("SYSTEM_FAILURE_EXIT_CODE", 2),
            exit_code_file: path("BUILD_EXIT_CODE_FILE"),
            job_response_file: path("JOB_RESPONSE_FILE"),
            tmpdir: path("TMPDIR"),
            token: env::var(TOKEN_VARIABLE).ok().and_then(|v| v.parse().ok()),
            state: path(STATE_VARIABLE),
            runner: env::var(RUNNER_VARIABLE).ok().and_then(|v| parse_process(&v)).filter(is_parent),
        }
    }
}

/// This process's parent: for a stage, the runner.
pub fn parent() -> Option<ProcId> {
    ProcId::of(Pid::parent()?)
}

/// A process as one word.
pub fn show_process(process: ProcId) -> String {
    format!("{}:{}", process.pid.get(), process.start_time)
}

fn parse_process(word: &str) -> Option<ProcId> {
    let (pid, start_time) = word.split_once(':')?;
    Some(ProcId { pid: Pid::new(pid.parse().ok()?)?, start_time: start_time.parse().ok()? })
}

fn is_parent(process: &ProcId) -> bool {
    parent() == Some(*process)
}

/// Of a stage's environment, what its script gets: as under the runner's shell executor, the runner's own. The
/// job's variables are exported by the script itself; the driver's own and its credentials are not the job's.
pub fn script_environment() -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> =
        env::vars_os().filter(|(key, _)| !is_ours(key)).collect();
    let has =
        |environment: &[(OsString, OsString)], name: &str| environment.iter().any(|(key, _)| key == name);
    if let Some(tmpdir) = tmpdir_of_the_runner() {
        environment.push(("TMPDIR".into(), tmpdir));
    }
    if !has(&environment, "HOME")
        && let Some(home) = env::home_dir()
    {
        environment.push(("HOME".into(), home.into()));
    }
    if !has(&environment, "USER")
        && let Some(user) = user_name()
    {
        environment.push(("USER".into(), user.into()));
    }
    environment
}

fn is_ours(key: &OsStr) -> bool {
    const PREFIXES: [&[u8]; 3] = [b"CUSTOM_ENV_", b"AWS_", b"PIPELINE_LOCK_"];
    const NAMES: [&str; 5] = [
        "TMPDIR",
        "JOB_RESPONSE_FILE",
        "BUILD_EXIT_CODE_FILE",
        "BUILD_FAILURE_EXIT_CODE",
        "SYSTEM_FAILURE_EXIT_CODE",
    ];
    PREFIXES.iter().any(|prefix| key.as_bytes().starts_with(prefix)) || NAMES.iter().any(|name| key == *name)
}

/// The runner overrides TMPDIR for its stages; the script gets the runner's own, if that has one.
fn tmpdir_of_the_runner() -> Option<OsString> {
    let environ = fs::read(format!("/proc/{}/environ", Pid::parent()?.get())).ok()?;
    let value = environ.split(|b| *b == 0).find_map(|pair| pair.strip_prefix(b"TMPDIR="))?;
    Some(OsString::from_vec(value.to_vec()))
}

fn user_name() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}
