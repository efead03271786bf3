//! What the tests of this layer share: processes of their own, and waiting with a deadline.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::cgroup_mount::own_cgroup;
use super::clock::BootTime;
use super::process::{Pid, ProcId, Signal};
use super::scan::descendants;

/// Tells a test binary that it was started by one of its own tests, and by which.
const INSIDE: &str = "PIPELINE_LOCK_TEST_INSIDE";

/// How long a test waits for something that should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails the test with `what` when it does not within the patience of a test.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child that is killed and reaped when the test ends, also by a panic, with all that descends from it then.
pub struct Guarded(pub Child);

impl Guarded {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the command starts"))
    }

    /// Starts `sh -c script` with its standard output in a pipe, and waits for its first line.
    pub fn shell(script: &str) -> (Self, String) {
        let mut child = Self::spawn(Command::new("sh").args(["-c", script]).stdout(Stdio::piped()));
        let line = child.line();
        (child, line)
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::of_child(&self.0)
    }

    /// The next line of the child's standard output.
    ///
    /// Unbuffered beyond the line only as far as the child writes one line and then waits, as those of these
    /// tests do.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.0.stdout.as_mut().expect("the output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the output can be read");
        line.trim_end().to_owned()
    }

    /// Kills the child with KILL and reaps it.
    pub fn kill(&mut self) {
        self.0.kill().expect("the child can be killed");
        self.0.wait().expect("the child can be waited for");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // First look, then kill: what a dead parent leaves behind is found no more.
        let below: Vec<ProcId> =
            ProcId::of(self.pid()).and_then(|id| descendants(&[id]).ok()).unwrap_or_default();
        let _ = self.0.kill();
        let _ = self.0.wait();
        for id in below {
            let _ = id.signal(Signal::KILL);
        }
    }
}

/// Kills, when the test ends, the process whose id a script has printed: one that is no child of the test.
pub struct Stray(pub Pid);

impl Stray {
    /// Takes the process id from a line of a script's output.
    pub fn parse(line: &str) -> Self {
        let pid = line.trim().parse().ok().and_then(Pid::new);
        Self(pid.unwrap_or_else(|| panic!("a process id, not {line:?}")))
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0.into(), Signal::KILL);
    }
}

/// Whether this process was started by [`other_process`] or [`in_own_process`] for the test `name`.
pub fn is_inside(name: &str) -> bool {
    std::env::var(INSIDE).is_ok_and(|inside| inside == name)
}

/// Starts this test binary once more, for the one test `name` (its full path), standard output in a pipe.
fn itself(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, name);
    command.stdout(Stdio::piped());
    command
}

/// Starts the test `name` in another process, where [`is_inside`] holds and the variable `key` is `value`, and waits
/// until it prints `ready`.
pub fn other_process(name: &str, key: &str, value: impl AsRef<OsStr>) -> Guarded {
    let mut child = Guarded::spawn(itself(name).env(key, value));
    let output = child.0.stdout.take().expect("the output is a pipe");
    let ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.ends_with("ready"));
    assert!(ready, "the other process of {name} ended before it was ready");
    child
}

/// Says to [`other_process`] that this process is ready, and waits to be killed.
pub fn ready_to_die() -> ! {
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// Runs `body` as the test `name` in a process of its own: for what belongs to a whole process. What it leaves behind
/// is killed.
pub fn in_own_process(name: &str, body: impl FnOnce()) {
    struct Sweep;

    impl Drop for Sweep {
        fn drop(&mut self) {
            for id in descendants(&[ProcId::me()]).unwrap_or_default() {
                let _ = id.signal(Signal::KILL);
            }
        }
    }

    if is_inside(name) {
        let _sweep = Sweep;
        return body();
    }
    let output = itself(name).stderr(Stdio::piped()).output().expect("the test binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} in its own process:\n{text}\n{errors}"
    );
}

/// Runs `body` with a cgroup, emptied and removed afterwards, where one can be made; where not, checks that having
/// none is the truth.
pub fn with_cgroup(body: impl FnOnce(&Cgroup)) {
    struct Owned(Cgroup);

    impl Drop for Owned {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.remove(BootTime::now() + PATIENCE);
        }
    }

    let writable =
        own_cgroup().is_some_and(|own| rustix::fs::access(&own, rustix::fs::Access::WRITE_OK).is_ok());
    match Cgroup::create(uuid::Uuid::new_v4()) {
        Some((cgroup, _claim)) => body(&Owned(cgroup).0),
        None => assert!(!writable, "the own cgroup is writable, and yet none was made"),
    }
}
