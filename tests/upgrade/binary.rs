//! The program's file is replaced, or gone, in the middle of a job.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::harness::{Attempt, Ended, Host, Process, Stage, found, within};

/// Installs the program into the host's own folder.
fn install(host: &Host) -> PathBuf {
    let installed = host.path().join("pipeline-lock");
    replace(&installed);
    installed
}

/// As an installer does it: beside, then in its place.
fn replace(installed: &Path) {
    let beside = installed.with_extension("new");
    fs::copy(env!("CARGO_BIN_EXE_pipeline-lock"), &beside).unwrap();
    fs::rename(beside, installed).unwrap();
}

/// A stage's command, of the program that is installed.
fn stage(installed: &Path, job: &Attempt, args: &[&str]) -> Command {
    let built = job.command(args);
    let mut command = Command::new(installed);
    command.args(built.get_args()).current_dir(built.get_current_dir().unwrap()).env_clear();
    command.envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn ends(installed: &Path, job: &Attempt, args: &[&str]) -> Ended {
    Stage::start(stage(installed, job, args), false).end()
}

/// Whether the process runs a file that has been replaced.
fn is_of_old(process: Process) -> bool {
    let exe = fs::read_link(format!("/proc/{}/exe", process.pid)).unwrap();
    exe.to_string_lossy().ends_with("(deleted)")
}

#[test]
fn a_job_goes_on_when_the_program_is_replaced_between_and_in_its_stages() {
    for host in [Host::local(""), Host::dynamodb("")] {
        let installed = install(&host);
        let job = host.job(1).attempt();
        ends(&installed, &job, &["prepare"]).with_code(0);
        let waits = host.job(2).attempt();
        let waiting = Stage::start(stage(&installed, &waits, &["prepare"]), false);
        host.until_queued(&[2]);
        replace(&installed);
        assert!(host.keepers().into_iter().all(is_of_old) && host.keepers().len() == 2);
        let left = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("left", "$!"));
        let script = job.script(&format!("{}{left}", host.gate("runs")));
        let run = Stage::start(stage(&installed, &job, &["run", &script, "build_script"]), false);
        host.until_reached("runs");
        // Once more, while a stage runs that has a sentinel to start.
        replace(&installed);
        host.open("runs");
        run.end().with_code(0);
        let left = host.told("left");
        let script = job.script("echo next");
        ends(&installed, &job, &["run", &script, "after_script"]).with_code(0).with_text(&["next"]);
        ends(&installed, &job, &["cleanup"]).with_code(0).with_text(&["is released"]);
        assert!(!left.lives());
        waiting.end().with_code(0);
        ends(&installed, &waits, &["cleanup"]).with_code(0);
        host.is_clean_soon();
    }
}

#[test]
fn a_sentinel_of_a_replaced_program_still_ends_what_a_job_left_behind() {
    let host = Host::dynamodb("");
    let installed = install(&host);
    let job = host.job(1).attempt();
    ends(&installed, &job, &["prepare"]).with_code(0);
    let left = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("left", "$!"));
    let script = job.script(&format!("{}{left}", host.gate("runs")));
    let run = Stage::start(stage(&installed, &job, &["run", &script, "build_script"]), false);
    host.until_reached("runs");
    fs::remove_file(&installed).unwrap();
    host.open("runs");
    run.end().with_code(0);
    let left = host.told("left");
    let is_sentinel = |process: &Process| process.args().get(1).is_some_and(|arg| arg == "sentinel");
    let sentinel = found("a sentinel", || host.processes().into_iter().find(is_sentinel));
    assert!(is_of_old(sentinel), "it is of the file that is gone");
    host.keepers()[0].signal(Signal::KILL);
    within(std::time::Duration::from_secs(30), "what was left is ended", || !left.lives());
    replace(&installed);
    ends(&installed, &job, &["cleanup"]).with_code(0);
    host.is_clean_within(std::time::Duration::from_secs(5));
}
