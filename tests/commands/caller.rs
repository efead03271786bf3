//! Who calls a command: somebody at a terminal, or a job by its CI variables.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Ended, Host, Job, LOCK, Stage};

/// Starts the program as somebody on the host would.
pub fn start(host: &Host, args: &[&str]) -> Stage {
    Stage::start(host.command(args), false)
}

/// The program as a line of `job`'s script would call it, under whatever executor.
pub fn in_job(host: &Host, job: &Job, args: &[&str]) -> Command {
    let mut command = host.command(args);
    command
        .envs(job.environment())
        .env("CI_JOB_URL", format!("https://gitlab.example.com/shop/web/-/jobs/{}", job.id));
    command
}

/// The history of the lock, the newest first: who, and how it ended.
#[track_caller]
pub fn past(host: &Host) -> Vec<(String, String)> {
    let history = host.run(&["history", LOCK, "--json"]).with_code(0);
    let history: Value = serde_json::from_slice(&history.out).expect("history speaks JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let endings = history.as_array().expect("a list").iter();
    endings.map(|ending| (text(&ending["who"]["job"]), text(&ending["how"]))).collect()
}

impl Host {
    /// The program with this host's file, as anybody on the host would call it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.site.program("config.yaml");
        command.args(args).current_dir(self.path());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ended {
        start(self, args).end()
    }
}
