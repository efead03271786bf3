//! Processes of these tests' own: alive, dead, stopped, mistaken for one another.

use super::*;
use crate::host::testing::{Guarded, eventually, in_own_process};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;
use tokio::time::timeout;

fn sleeper() -> Guarded {
    Guarded::spawn(Command::new("sleep").arg("600"))
}

fn id_of(child: &Guarded) -> ProcId {
    ProcId::of(child.pid()).expect("the child lives")
}

#[test]
fn a_pid_is_positive() {
    assert_eq!(Pid::new(0), None);
    assert_eq!(Pid::new(-4), None);
    assert_eq!(serde_json::from_str::<Pid>("7").unwrap(), Pid::new(7).unwrap());
    assert!(serde_json::from_str::<Pid>("0").is_err());
}

#[test]
fn a_zombie_counts_as_dead() {
    let mut child = sleeper();
    let id = id_of(&child);
    assert!(id.is_alive());
    child.0.kill().unwrap();
    eventually("the child, killed and not reaped, is dead", || !id.is_alive());
    assert_eq!(ProcId::of(id.pid), None);
    assert!(Stat::read(id.pid).unwrap().is_some(), "it was still a zombie");
    child.0.wait().unwrap();
    assert!(!id.is_alive(), "and reaped it is dead as well");
}

#[test]
fn a_process_with_the_same_id_and_another_start_is_not_taken_for_it() {
    let child = sleeper();
    let id = id_of(&child);
    let former = ProcId { start_time: id.start_time - 1, ..id };
    assert!(!former.is_alive());
    assert!(former.pidfd().unwrap().is_none());
    assert_eq!(former.command(), None);
    assert!(!former.signal(Signal::KILL).unwrap());
    assert!(id.is_alive(), "the later process was not hit");
    assert_eq!(id.command().as_deref(), Some("sleep"));
}

#[test]
fn a_signal_reaches_the_process_and_tells_when_it_is_gone() {
    let mut child = sleeper();
    let id = id_of(&child);
    assert!(id.signal(Signal::TERM).unwrap());
    child.0.wait().unwrap();
    assert!(!id.signal(Signal::TERM).unwrap());
}

#[test]
fn without_a_pidfd_a_signal_still_hits_only_the_process() {
    let mut child = sleeper();
    let id = id_of(&child);
    let former = ProcId { start_time: id.start_time - 1, ..id };
    assert!(!former.signal_by_id(Signal::KILL).unwrap());
    assert!(id.is_alive());
    assert!(id.signal_by_id(Signal::KILL).unwrap());
    child.0.wait().unwrap();
    assert!(!id.signal_by_id(Signal::KILL).unwrap());
}

#[test]
fn without_open_files_no_signal_is_sent_and_an_end_is_seen_later() {
    in_own_process(
        "host::process::tests::without_open_files_no_signal_is_sent_and_an_end_is_seen_later",
        || {
            let mut child = sleeper();
            let id = id_of(&child);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let limits = getrlimit(Resource::Nofile);
                setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limits.maximum }).unwrap();
                let sent = id.signal(Signal::KILL);
                let mut wait = Box::pin(id.ended());
                let early = timeout(Duration::from_millis(10), &mut wait).await;
                setrlimit(Resource::Nofile, limits).unwrap();
                assert!(sent.is_err());
                assert!(early.is_err(), "it lives");
                child.kill();
                timeout(Duration::from_secs(20), wait).await.expect("it is seen by looking");
            });
        },
    );
}

#[tokio::test]
async fn the_end_of_a_process_is_seen_without_reaping_it() {
    let mut child = sleeper();
    let id = id_of(&child);
    let wait = tokio::spawn(id.ended());
    tokio::task::yield_now().await;
    assert!(!wait.is_finished());
    child.0.kill().unwrap();
    timeout(Duration::from_secs(20), wait).await.expect("it is seen").unwrap();
    child.0.wait().unwrap();
    id.ended().await;
}

#[test]
fn this_process_and_its_parent_are_known() {
    assert!(ProcId::me().is_alive());
    assert_ne!(Pid::parent(), Some(Pid::me()));
}
