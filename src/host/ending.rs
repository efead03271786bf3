//! Ending a job's processes: asked first, then killed, until none lives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::{BootTime, sleep_until};
use super::process::{ProcId, Signal};
use super::tree::{JobTree, send};

/// The names of how many processes are kept for the report.
const NAMES: usize = 5;

/// The first pause between two looks at what still lives; each pause is longer than the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long a job's processes are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From TERM to KILL; zero means KILL at once.
    pub term_grace: Duration,
    /// From the first KILL on, until what still lives is given up: processes of another user, or stuck in the kernel.
    pub kill_limit: Duration,
}

/// What became of the processes that were to be ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many were seen alive and are gone.
    pub count: usize,
    /// The names of the first few that were seen alive, as the kernel has them.
    pub names: Vec<String>,
    /// Whether TERM was not enough.
    pub killed: bool,
    /// Those that still live after `kill_limit`. While there are any, the job is not over.
    pub left: Vec<ProcId>,
}

impl JobTree {
    /// Ends all of the job's processes: TERM and CONT to each, and what lives after the grace is stopped and killed,
    /// again and again until none lives. Returns as soon as none lives. Blocks the thread.
    #[must_use = "processes may be left"]
    pub fn end_blocking(&self, patience: Patience) -> Ended {
        let mut ending = Ending::new(self, patience);
        while let Some(pause) = ending.step() {
            std::thread::sleep(pause);
        }
        ending.report()
    }

    /// As [`JobTree::end_blocking`], for tokio. A dropped future leaves the processes as they are then.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn end(&self, patience: Patience) -> Ended {
        let mut ending = Ending::new(self, patience);
        while let Some(pause) = ending.step() {
            sleep_until(BootTime::now() + pause).await;
        }
        ending.report()
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nobody has been told yet.
    Ask,
    /// All were sent TERM; KILL is due at this moment.
    Grace(BootTime),
    /// KILL goes round until this moment.
    Kill(BootTime),
}

/// An ending in progress: one step at a time, so that it can be driven by blocking code and by tokio alike.
struct Ending<'a> {
    tree: &'a JobTree,
    patience: Patience,
    phase: Phase,
    pause: Duration,
    seen: BTreeMap<ProcId, Option<String>>,
    left: Vec<ProcId>,
}

impl<'a> Ending<'a> {
    fn new(tree: &'a JobTree, patience: Patience) -> Self {
        let (seen, left) = (BTreeMap::new(), Vec::new());
        Self { tree, patience, phase: Phase::Ask, pause: FIRST_PAUSE, seen, left }
    }

    /// Does what is due now. Tells how long to pause before the next step, or none when it is over.
    fn step(&mut self) -> Option<Duration> {
        let now = BootTime::now();
        self.left = self.tree.living();
        self.remember();
        if self.left.is_empty() {
            return None;
        }
        match self.phase {
            Phase::Ask if self.patience.term_grace.is_zero() => self.start_killing(now),
            Phase::Ask => self.ask(now),
            Phase::Grace(until) if now < until => {}
            Phase::Grace(_) => self.start_killing(now),
            Phase::Kill(until) if now < until => self.kill(),
            Phase::Kill(_) => return None,
        }
        Some(self.next_pause(now))
    }

    fn ask(&mut self, now: BootTime) {
        self.phase = Phase::Grace(now + self.patience.term_grace);
        // A frozen or stopped process gets TERM only once it goes on.
        self.tree.set_frozen(false);
        send(&self.left, Signal::TERM);
        send(&self.left, Signal::CONT);
    }

    fn start_killing(&mut self, now: BootTime) {
        self.phase = Phase::Kill(now + self.patience.kill_limit);
        self.pause = FIRST_PAUSE;
        // Who is stopped forks no more and doesn't start anew what was killed beside it.
        self.tree.stop_all();
        self.left = self.tree.living();
        self.remember();
        self.kill();
    }

    fn kill(&self) {
        if let Some(cgroup) = &self.tree.cgroup
            && let Err(error) = cgroup.kill()
        {
            tracing::debug!(path = %cgroup.path().display(), %error, "the job's cgroup can't be killed as a whole");
        }
        send(&self.left, Signal::KILL);
    }

    fn remember(&mut self) {
        for id in &self.left {
            let named = self.seen.len() < NAMES;
            self.seen.entry(*id).or_insert_with(|| named.then(|| id.command()).flatten());
        }
    }

    fn next_pause(&mut self, now: BootTime) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match self.phase {
            Phase::Grace(until) => pause.min(until.since(now)),
            Phase::Ask | Phase::Kill(_) => pause,
        }
    }

    fn report(self) -> Ended {
        Ended {
            count: self.seen.keys().filter(|id| !self.left.contains(id)).count(),
            killed: matches!(self.phase, Phase::Kill(_)),
            names: self.seen.into_values().flatten().collect(),
            left: self.left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cgroup::enter;
    use crate::host::process::Pid;
    use crate::host::subreaper::{become_subreaper, reap};
    use crate::host::testing::{Guarded, Stray, eventually, in_own_process, with_cgroup};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const SOON: Patience =
        Patience { term_grace: Duration::from_millis(200), kill_limit: Duration::from_secs(20) };
    const PATIENT: Patience = Patience { term_grace: Duration::from_secs(600), ..SOON };

    /// A tree of all that `shell` started, once that is `count` times sleep.
    fn tree_of(shell: &Guarded, count: usize) -> JobTree {
        let tree = JobTree { root: ProcId::of(shell.pid()), ..JobTree::default() };
        eventually("the processes are found", || {
            let living = tree.living();
            living.len() == count && living.iter().all(|id| id.command().as_deref() == Some("sleep"))
        });
        tree
    }

    #[test]
    fn a_job_with_no_processes_is_over_at_once() {
        let ended = JobTree::default().end_blocking(PATIENT);
        assert_eq!(ended, Ended::default());
    }

    #[test]
    fn who_heeds_term_is_not_killed_and_holds_nothing_up() {
        let (shell, line) = Guarded::shell("setsid sleep 600 & echo $!; sleep 601 & wait");
        let _stray = Stray::parse(&line);
        let tree = tree_of(&shell, 2);
        let began = BootTime::now();
        let ended = tree.end_blocking(PATIENT);
        assert_eq!((ended.count, ended.killed, ended.left), (2, false, vec![]));
        assert_eq!(ended.names, ["sleep", "sleep"]);
        assert!(BootTime::now().since(began) < PATIENT.term_grace);
    }

    #[tokio::test]
    async fn who_ignores_term_is_killed_after_the_grace() {
        let (shell, line) = Guarded::shell("(trap '' TERM; echo ready; exec sleep 600) & wait");
        assert_eq!(line, "ready");
        let tree = tree_of(&shell, 1);
        let began = BootTime::now();
        let ended = tree.end(SOON).await;
        assert_eq!((ended.count, ended.killed, ended.left), (1, true, vec![]));
        assert!(BootTime::now().since(began) >= SOON.term_grace, "it had its grace");
    }

    #[test]
    fn a_stopped_process_still_gets_its_chance_to_clean_up() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("cleaned-up");
        let script = format!(
            "(trap 'echo done >{}; exit' TERM; echo ready; while :; do sleep 0.01; done) & wait",
            file.display()
        );
        let (shell, _ready) = Guarded::shell(&script);
        let tree = JobTree { root: ProcId::of(shell.pid()), ..JobTree::default() };
        eventually("it is there", || !tree.living().is_empty());
        tree.freeze();
        let ended = tree.end_blocking(PATIENT);
        assert!(!ended.killed, "{ended:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "done\n");
    }

    #[test]
    fn no_grace_means_kill_at_once() {
        let (shell, _ready) = Guarded::shell("(trap '' TERM; echo ready; exec sleep 600) & wait");
        let ended = tree_of(&shell, 1).end_blocking(Patience { term_grace: Duration::ZERO, ..PATIENT });
        assert_eq!((ended.count, ended.killed), (1, true));
    }

    #[test]
    fn who_is_excluded_is_spared() {
        let (shell, line) = Guarded::shell("sleep 600 & echo $!; sleep 601 & wait");
        let spared = Stray::parse(&line);
        let tree = JobTree { exclude: vec![spared.0], ..tree_of(&shell, 2) };
        assert_eq!(tree.end_blocking(PATIENT).count, 1);
        assert!(ProcId::of(spared.0).is_some());
        assert!(ProcId::of(shell.pid()).is_some(), "and so is the root");
    }

    const STORM: &str = "trap '' TERM
        storm() { while :; do (trap '' TERM; sleep 600 & exec setsid sleep 601) & sleep 0.005; done; }
        storm & storm & storm";

    #[test]
    fn a_fork_storm_is_ended_to_the_last_process() {
        in_own_process("host::ending::tests::a_fork_storm_is_ended_to_the_last_process", || {
            become_subreaper().unwrap();
            let mut child = Guarded::spawn(Command::new("sh").args(["-c", STORM]));
            let tree = JobTree { root: Some(ProcId::me()), ..JobTree::default() };
            eventually("it rages", || tree.living().len() > 30);
            let ended = tree.end_blocking(SOON);
            assert!(ended.killed && ended.left.is_empty() && ended.count > 30, "{ended:?}");
            child.kill();
            eventually("all are reaped", || !reap().children_left);
        });
    }

    #[test]
    fn a_fork_storm_in_a_cgroup_is_ended_to_the_last_process() {
        with_cgroup(|cgroup| {
            let procs = cgroup.procs_fd().unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", STORM]);
            // SAFETY: `enter` is one write(2) to a file descriptor that is open in the child: async-signal-safe.
            unsafe { command.pre_exec(move || enter(&procs)) };
            let _child = Guarded::spawn(&mut command);
            let tree = JobTree { cgroup: Some(cgroup.clone()), ..JobTree::default() };
            eventually("it rages", || tree.living().len() > 30);
            tree.freeze();
            let ended = tree.end_blocking(SOON);
            assert!(ended.killed && ended.left.is_empty() && ended.count > 30, "{ended:?}");
        });
    }

    #[test]
    fn what_cannot_be_ended_is_told_and_not_waited_for_for_ever() {
        let init = ProcId::of(Pid::new(1).unwrap()).unwrap();
        let tree = JobTree::default();
        let ending = Ending { left: vec![init], ..Ending::new(&tree, SOON) };
        assert_eq!(ending.report().left, [init]);
    }
}
