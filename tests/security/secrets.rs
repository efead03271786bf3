//! What a job gets of the driver's, and what the driver keeps of a job's.

use std::{fs, path::Path, process::Command};

use crate::{
    attacker::run,
    harness::{Attempt, Host, Stage},
};

const SECRET: &str = "s3cr3t-of-the-driver";

/// A stage of a runner whose environment has all kinds of credentials.
fn with_credentials(mut command: Command) -> Command {
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_PROFILE",
    ] {
        command.env(name, format!("/{SECRET}/{name}"));
    }
    command.env("PIPELINE_LOCK_LOG", "trace");
    command
}

fn prepared(host: &Host) -> Attempt {
    let job = host.job(1).attempt();
    Stage::start(with_credentials(job.command(&["prepare"])), false).end().with_code(0);
    job
}

#[test]
fn a_job_has_none_of_the_drivers_credentials_in_its_environment() {
    let host = Host::local("");
    let job = prepared(&host);
    let script = job.script("env; tr '\\0' '\\n' </proc/self/environ; tr '\\0' ' ' </proc/$$/cmdline");
    let command = with_credentials(job.command(&["run", &script, "build_script"]));
    let said = Stage::start(command, false).end().with_code(0).text();
    assert!(said.contains("PIPELINE_LOCK_FENCE="), "the environment is shown: {said}");
    let private =
        [SECRET, "AWS_", "CUSTOM_ENV_", "JOB_RESPONSE_FILE", "PIPELINE_LOCK_TOKEN", "PIPELINE_LOCK_STATE"];
    for part in private {
        assert!(!said.contains(part), "{part} is in a job's environment: {said}");
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_job_inherits_no_descriptor_of_the_keepers() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let said =
        job.script_ends("for fd in /proc/$BASHPID/fd/*; do readlink $fd || true; done").with_code(0).text();
    let strange: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("pipe:") && *line != "/dev/null" && !line.contains("/script"))
        .collect();
    assert!(strange.is_empty() && said.lines().count() >= 3, "{said}");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn no_secret_of_a_job_or_of_the_driver_is_in_any_file() {
    let host = Host::local("");
    let job = prepared(&host);
    let waits = host.job(2).attempt();
    let waiting = Stage::start(with_credentials(waits.command(&["prepare"])), false);
    host.until_queued(&[2]);
    let mut seen = 0;
    for folder in ["state", "locks.db.d"] {
        seen += look(&host.path().join(folder));
    }
    seen +=
        ["locks.db", "locks.db-wal"].iter().map(|file| has_no_secret(&host.path().join(file))).sum::<usize>();
    assert!(seen >= 10, "only {seen} files were there to be looked at");
    for keeper in host.keepers() {
        let environment = fs::read(format!("/proc/{}/environ", keeper.pid)).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        for part in ["CUSTOM_ENV_", "s3cr3t-job-token", "hunter2"] {
            assert!(!environment.contains(part), "{part} is in a keeper's environment");
        }
        assert!(!keeper.args().join(" ").contains("s3cr3t"), "everybody sees a command line");
    }
    job.finish();
    waiting.end().with_code(0);
    waits.finish();
    host.is_clean_soon();
}

#[test]
fn a_store_that_refuses_credentials_is_told_without_them() {
    let store =
        "store: { dynamodb: { table: locks, region: eu-central-1, endpoint_url: \"http://127.0.0.1:9\" } }\n";
    let host = Host::local("");
    let file = fs::read_to_string(host.path().join("config.yaml")).unwrap();
    let rest = file.split_once('\n').unwrap().1;
    host.write("config.yaml", &format!("{store}{rest}"));
    let mut command = host.site.program("config.yaml");
    command
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", SECRET)
        .env("PIPELINE_LOCK_LOG", "trace");
    let (code, said) = run(command.args(["status", "x"]));
    assert!(code != 0 && !said.contains(SECRET), "{said}");
}

fn look(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { look(&path) } else { has_no_secret(&path) }).sum()
}

fn has_no_secret(path: &Path) -> usize {
    let Ok(bytes) = fs::read(path) else { return 0 };
    let text = String::from_utf8_lossy(&bytes);
    for part in [SECRET, "s3cr3t-job-token", "hunter2"] {
        assert!(!text.contains(part), "{part} is in {}", path.display());
    }
    1
}
