//! A runner that can be hit: this test program once more, as the parent of a job's stages. It does what GitLab Runner
//! does: aborts its job when told to end (but leaves prepare alone), tries a failed prepare again, and calls cleanup.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio, exit},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::harness::{Attempt, Job, Process, Stage, eventually};

/// What the other process finds in its environment: the plan.
const PLAN: &str = "TEST_RUNNER_PLAN";

/// The test that calls [`act`] in the other process.
const TEST: &str = "stands_in_for_a_runner";

/// The runner pauses for three seconds between two tries; here it is only known that it does pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two looks at a stage, a gate or what the runner was told.
const LOOK: Duration = Duration::from_millis(5);

/// What a stand-in does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub job: Job,
    pub steps: Vec<Step>,
    /// How often it prepares the job at most.
    pub tries: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Step {
    /// The prepare stage.
    Prepare,
    /// A script.
    Run(String),
    /// Waits at this gate of the host.
    Gate(String),
}

/// A runner in a process of its own, with its one job.
pub struct StandIn {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub fn start(plan: &Plan) -> Self {
        let plan = serde_json::to_string(plan).expect("a plan is JSON");
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]).env(PLAN, plan);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("this program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = said.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                heard.lock().expect("no thread panics with it").push(line);
            }
        });
        Self { child, said }
    }

    pub fn process(&self) -> Process {
        Process::find(self.child.id().cast_signed()).expect("the runner lives")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_some()
    }

    /// What it has said behind this word, line by line.
    fn told(&self, word: &str) -> Vec<String> {
        let said = self.said.lock().expect("no thread panics with it");
        said.iter().filter_map(|line| Some(line.split_once(word)?.1.trim().to_owned())).collect()
    }

    /// The tokens of its tries of the job so far.
    pub fn tokens(&self) -> Vec<String> {
        self.told("TOKEN")
    }

    /// The token of its first try.
    pub fn token(&self) -> String {
        eventually("the runner begins", || !self.tokens().is_empty());
        self.tokens().remove(0)
    }

    /// How its stages ended, in their order.
    pub fn endings(&self) -> Vec<String> {
        self.told("ENDED")
    }

    /// The stage of this name that runs now.
    #[track_caller]
    pub fn stage(&self, name: &str) -> Process {
        let entry = format!("PIPELINE_LOCK_TOKEN={}", self.token());
        crate::harness::found(name, || {
            Process::with(&entry).into_iter().find(|process| process.args().iter().any(|arg| arg == name))
        })
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
    let plan: Plan = serde_json::from_str(&plan).expect("a plan is JSON");
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, told.clone()).expect("the signal can be had");
    }
    let mut runner = Runner { told, obeyed: false };
    for _ in 0..plan.tries {
        if !runner.tries(&plan) {
            break;
        }
        thread::sleep(PAUSE);
    }
    // Not by the test's own end, which writes to who may be gone.
    exit(0);
}

struct Runner {
    told: Arc<AtomicBool>,
    /// Whether it has done what it was told.
    obeyed: bool,
}

impl Runner {
    /// One try of the job with its cleanup. True: prepare failed in a way that calls for another one.
    fn tries(&mut self, plan: &Plan) -> bool {
        let attempt = plan.job.attempt();
        say(&format!("TOKEN {}", attempt.token()));
        let mut again = false;
        for step in &plan.steps {
            if self.told.load(Ordering::Relaxed) {
                break;
            }
            let code = match step {
                Step::Prepare => self.stage("prepare", attempt.prepare()),
                Step::Run(lines) => self.stage("run", attempt.run("build_script", lines)),
                Step::Gate(name) => {
                    self.waits_at(&attempt, name);
                    Some(0)
                }
            };
            if code != Some(0) {
                again = matches!(step, Step::Prepare) && code != Some(1);
                break;
            }
        }
        let cleanup = Stage::start(attempt.command(&["cleanup"]), false);
        self.stage("cleanup", cleanup);
        let _ = fs::remove_dir_all(&attempt.dir);
        again && !self.told.load(Ordering::Relaxed)
    }

    /// Waits for a stage as the runner does.
    fn stage(&mut self, name: &str, mut stage: Stage) -> Option<i32> {
        while stage.runs() {
            if self.is_told() {
                match name {
                    // The runner ends some time after it was told, and never tells its prepare.
                    "prepare" => exit(0),
                    "run" => stage.term(),
                    _ => {}
                }
            }
            thread::sleep(LOOK);
        }
        let ended = stage.end();
        let how = ended.code.map_or_else(|| "killed".into(), |code| code.to_string());
        say(&format!("ENDED {name} {how}"));
        ended.code
    }

    fn waits_at(&mut self, attempt: &Attempt, gate: &str) {
        let gate = attempt.job.site.dir.join("gates").join(gate);
        fs::write(gate.with_extension("reached"), "").expect("the folder is writable");
        while !gate.exists() && !self.is_told() {
            thread::sleep(LOOK);
        }
    }

    /// Whether it was told to end and has not yet done so.
    fn is_told(&mut self) -> bool {
        let is_new = !self.obeyed && self.told.load(Ordering::Relaxed);
        self.obeyed |= is_new;
        is_new
    }
}

/// The report of the test's own harness is on the same line now and then.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "\n{line}");
}
