//! Jobs that heed TERM, that ignore it, and that fork against being ended.

use super::*;
use crate::host::subreaper::{become_subreaper, reap};
use crate::host::testing::{Guarded, Stray, eventually, in_own_process, with_cgroup};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;

const SOON: Patience =
    Patience { term_grace: Duration::from_millis(200), kill_limit: Duration::from_secs(20) };
const PATIENT: Patience = Patience { term_grace: Duration::from_secs(30), ..SOON };

/// A tree of all that `shell` started, once that is `count` times sleep.
fn tree_of(shell: &Guarded, count: usize) -> JobTree {
    let tree = JobTree { root: ProcId::of(shell.pid()), ..JobTree::default() };
    eventually("the processes are found", || {
        let living = tree.living().unwrap();
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
fn who_outlives_its_parent_during_the_grace_is_ended_too() {
    let (shell, line) = Guarded::shell("(trap '' TERM; exec setsid sleep 600) & echo $!; wait");
    let stray = Stray::parse(&line);
    let tree = JobTree { known: vec![ProcId::of(shell.pid()).unwrap()], ..JobTree::default() };
    let child = || ProcId::of(stray.0).and_then(ProcId::command);
    eventually("the child ignores TERM", || child().as_deref() == Some("sleep"));
    let ended = tree.end_blocking(SOON);
    assert_eq!((ended.count, ended.killed, ended.left), (2, true, vec![]));
    assert_eq!(child(), None);
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
    eventually("it is there", || !tree.living().unwrap().is_empty());
    tree.freeze().unwrap();
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

/// It ends by itself, should nobody end it: a machine that it floods is of no use to anybody.
const STORM: &str = "trap '' TERM
    storm() {
        left=400
        while [ $((left -= 1)) -gt 0 ]; do (trap '' TERM; sleep 60 & exec setsid sleep 61) & sleep 0.005; done
    }
    storm & storm & storm";

#[test]
fn a_fork_storm_is_ended_to_the_last_process() {
    in_own_process("host::ending::tests::a_fork_storm_is_ended_to_the_last_process", || {
        become_subreaper().unwrap();
        let _child = Guarded::spawn(Command::new("sh").args(["-c", STORM]));
        let tree = JobTree { root: Some(ProcId::me()), ..JobTree::default() };
        eventually("it rages", || tree.living().unwrap().len() > 30);
        let mut ending = Ending::new(&tree, SOON);
        while let Some(pause) = ending.step() {
            std::thread::sleep(pause);
            // As a keeper does: who is not reaped is still a child.
            let _ = reap();
        }
        let ended = ending.report();
        assert!(ended.killed && ended.is_over() && ended.count > 30, "{ended:?}");
        assert!(!reap().children_left);
    });
}

#[test]
fn a_fork_storm_in_a_cgroup_is_ended_to_the_last_process() {
    with_cgroup(|cgroup| {
        let door = cgroup.door().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", STORM]);
        // SAFETY: `step_in` is one write(2) to a file descriptor that is open in the child: async-signal-safe.
        unsafe { command.pre_exec(move || door.step_in()) };
        let _child = Guarded::spawn(&mut command);
        let tree = JobTree { cgroup: Some(cgroup.clone()), ..JobTree::default() };
        eventually("it rages", || tree.living().unwrap().len() > 30);
        tree.freeze().unwrap();
        let ended = tree.end_blocking(SOON);
        assert!(ended.killed && ended.is_over() && ended.count > 30, "{ended:?}");
    });
}

#[test]
fn a_frozen_job_in_a_cgroup_heeds_term() {
    with_cgroup(|cgroup| {
        let door = cgroup.door().unwrap();
        let mut command = Command::new("sleep");
        // SAFETY: `step_in` is one write(2) to a file descriptor that is open in the child: async-signal-safe.
        unsafe { command.arg("600").pre_exec(move || door.step_in()) };
        let _child = Guarded::spawn(&mut command);
        let tree = JobTree { cgroup: Some(cgroup.clone()), ..JobTree::default() };
        tree.freeze().unwrap();
        let ended = tree.end_blocking(PATIENT);
        assert_eq!((ended.count, ended.killed, ended.left), (1, false, vec![]));
    });
}

#[test]
fn what_is_not_gone_in_time_is_told_and_not_waited_for_for_ever() {
    let (shell, _ready) = Guarded::shell("(trap '' TERM; echo ready; exec sleep 600) & wait");
    let tree = tree_of(&shell, 1);
    let left = tree.living().unwrap();
    let mut ending = Ending::new(&tree, SOON);
    ending.phase = Phase::Kill(BootTime::now());
    assert_eq!(ending.step(), None);
    let ended = ending.report();
    assert!(!ended.is_over());
    assert_eq!((ended.count, ended.left), (0, left));
}

#[test]
fn a_job_that_cannot_be_looked_at_is_not_over() {
    in_own_process("host::ending::tests::a_job_that_cannot_be_looked_at_is_not_over", || {
        let tree = JobTree { root: Some(ProcId::me()), ..JobTree::default() };
        let limits = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limits.maximum }).unwrap();
        let blind = Patience { term_grace: Duration::ZERO, kill_limit: Duration::from_millis(20) };
        let (alive, over, ended) =
            (ProcId::is_alive(tree.root.unwrap()), tree.is_over(), tree.end_blocking(blind));
        setrlimit(Resource::Nofile, limits).unwrap();
        assert!(alive, "who can't be looked at may be alive");
        assert!(!over && !ended.is_over());
        assert!(tree.is_over() && tree.end_blocking(blind).is_over());
    });
}
