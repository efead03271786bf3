//! A runner that can be killed: this test program once more, as the parent of a job's stages.

use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::harness::{Job, Process};

/// What the other process finds in its environment: the plan.
const PLAN: &str = "TEST_RUNNER_PLAN";

/// What a stand-in does, one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub enum Step {
    /// The prepare stage.
    Prepare,
    /// A prepare stage that comes to no good end; the runner does not try again yet.
    PrepareInVain,
    /// A script, as the job's own.
    Run(String),
    /// Nothing any more, as a runner between two stages, until it is killed.
    Pause,
}

/// A runner in a process of its own, with its one job.
pub struct StandIn {
    child: Child,
    /// Kept open: the program's own report goes there as well.
    _output: Lines<BufReader<ChildStdout>>,
    token: String,
}

impl StandIn {
    /// Starts it; `test` is the test that calls [`act`] in the new process.
    pub fn start(test: &str, job: &Job, steps: &[Step]) -> Self {
        let plan = serde_json::to_string(&(job, steps)).expect("a plan is JSON");
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(PLAN, plan)
            .stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("this program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let told = output
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("TOKEN ").map(|(_, token)| token.to_owned()));
        Self { child, _output: output, token: told.expect("the other process begins its job") }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child");
    }

    /// The stage that it has started and that runs now.
    pub fn stage(&self, name: &str) -> Option<Process> {
        let entry = format!("PIPELINE_LOCK_TOKEN={}", self.token);
        Process::with(&entry).into_iter().find(|process| process.args().contains(&name.to_owned()))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the other process: runs the plan. Elsewhere: does nothing.
pub fn act() {
    let Ok(plan) = env::var(PLAN) else { return };
    let (job, steps): (Job, Vec<Step>) = serde_json::from_str(&plan).expect("a plan is JSON");
    let attempt = job.attempt();
    println!("\nTOKEN {}", attempt.token());
    for step in steps {
        let ended = match step {
            Step::Prepare => attempt.prepare().end(),
            Step::PrepareInVain => {
                attempt.prepare().end();
                continue;
            }
            Step::Run(lines) => attempt.script_ends(&lines),
            Step::Pause => loop {
                std::thread::park();
            },
        };
        if ended.code != Some(0) {
            break;
        }
    }
    attempt.finish();
}
