//! A job from its first stage to its last, in the runner's order.

use std::{fs, process::Command, thread, time::Duration};

use crate::harness::{Attempt, Ended, Host, Job, Process, Stage};

/// How often the runner tries to prepare a job.
const TRIES: usize = 3;

/// The runner pauses for three seconds between two tries; here it is only known that it does pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What a job came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// The job's own failure, with the exit code that GitLab shows.
    Failed(i32),
    /// The runner's.
    SystemFailure,
}

/// What was seen of a job.
pub struct Report {
    pub outcome: Outcome,
    /// How often it was prepared.
    pub tries: usize,
    /// The job's log.
    pub log: String,
    /// What the cleanups told the runner as warnings.
    pub warnings: String,
}

impl Job {
    /// Runs the stages `scripts` (name, lines) as the runner does: the attempts with their cleanups, then one stage
    /// after the other until one fails, then what comes after a failure, then cleanup.
    pub fn run_by_the_runner(&self, scripts: &[(&str, &str)]) -> Report {
        let mut report =
            Report { outcome: Outcome::Success, tries: 0, log: String::new(), warnings: String::new() };
        loop {
            report.tries += 1;
            let attempt = self.attempt();
            report.outcome = report.stage(&attempt, attempt.prepare().end());
            match report.outcome {
                Outcome::SystemFailure if report.tries < TRIES => {
                    report.clean_up(&attempt);
                    thread::sleep(PAUSE);
                }
                Outcome::Success => {
                    report.run(&attempt, scripts);
                    report.clean_up(&attempt);
                    return report;
                }
                _ => {
                    report.clean_up(&attempt);
                    return report;
                }
            }
        }
    }
}

impl Attempt {
    /// What the runner takes for the job's own exit code after a failure.
    pub fn exit_code(&self) -> Option<i32> {
        let text = fs::read_to_string(self.dir.join("build_exit_code")).ok()?;
        Some(text.lines().next()?.parse().expect("the runner takes a whole number"))
    }

    /// The job's living keeper.
    #[track_caller]
    pub fn keeper(&self) -> Process {
        let args = ["keeper".to_owned(), self.token()[..8].to_owned()];
        let keeper = Process::all().into_iter().find(|process| process.args().get(1..) == Some(&args));
        keeper.expect("the job's keeper lives")
    }

    /// prepare where cgroups can only be read, as in most containers: the job's keeper can make none.
    #[track_caller]
    pub fn prepare_without_cgroup(&self) {
        self.start_without_cgroup(&[]).end().with_code(0);
    }

    /// As [`Attempt::prepare_without_cgroup`], by a command that changes what prepare may do.
    #[track_caller]
    pub fn start_without_cgroup(&self, prefix: &[&str]) -> Stage {
        const MOUNTS: &str = "while read -r _ _ _ _ point rest; do case $rest in *' - cgroup2 '*) \
            mount -o remount,bind,ro \"$point\";; esac; done </proc/self/mountinfo; exec \"$@\"";
        let prepare = self.command(&["prepare"]);
        let mut command = Command::new("unshare");
        command.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" });
        let envs = prepare.get_envs().filter_map(|(key, value)| Some((key, value?)));
        command
            .args(["sh", "-c", MOUNTS, "sh"])
            .args(prefix)
            .arg(prepare.get_program())
            .args(prepare.get_args());
        command.env_clear().envs(envs).current_dir(&self.dir);
        Stage::start(command, false)
    }

    /// Whether the job's keeper could make a cgroup for it.
    pub fn has_cgroup(&self) -> bool {
        let presence = self.job.site.dir.join("locks.db.d/holds").join(self.token());
        std::fs::read_to_string(presence).is_ok_and(|record| record.contains("pipeline-lock-job-"))
    }

    /// What the job's keeper has written down.
    pub fn keeper_log(&self) -> String {
        let log = self.job.site.dir.join("state/jobs").join(self.token()).join("keeper.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

impl Host {
    /// What all keepers that are there have written down.
    pub fn keeper_logs(&self) -> String {
        let jobs = fs::read_dir(self.path().join("state/jobs")).into_iter().flatten().flatten();
        jobs.filter_map(|job| fs::read_to_string(job.path().join("keeper.log")).ok()).collect()
    }
}

impl Report {
    fn run(&mut self, attempt: &Attempt, scripts: &[(&str, &str)]) {
        for (name, lines) in scripts {
            let is_last_resort = *name == "after_script" || name.ends_with("_on_failure");
            if self.outcome != Outcome::Success && !is_last_resort {
                continue;
            }
            let outcome = self.stage(attempt, attempt.run(name, lines).end());
            if self.outcome == Outcome::Success && !is_last_resort {
                self.outcome = outcome;
            }
        }
    }

    fn stage(&mut self, attempt: &Attempt, ended: Ended) -> Outcome {
        self.log += &(ended.text() + &ended.error_text());
        match ended.code {
            Some(0) => Outcome::Success,
            Some(1) => Outcome::Failed(attempt.exit_code().unwrap_or(1)),
            _ => Outcome::SystemFailure,
        }
    }

    fn clean_up(&mut self, attempt: &Attempt) {
        let ended = attempt.cleanup();
        self.warnings += &ended.error_text();
        fs::remove_dir_all(&attempt.dir).expect("the folder is the runner's own");
    }
}
