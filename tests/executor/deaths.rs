//! Whoever is killed, somebody is left to end the job and free its lock, in that order.

use rustix::process::{Signal, kill_process};

use crate::harness::{Host, eventually, lives};

#[test]
fn a_killed_keeper_ends_the_job_and_frees_the_lock() {
    let host = Host::new("");
    let job = host.job(1);
    assert_eq!(job.prepare().end().0, Some(0));
    let run = job.run("build_script", "setsid sleep 7111111 & sleep 7111111");
    eventually("the script runs", || lives("sleep 7111111"));
    kill_process(job.keeper(), Signal::KILL).unwrap();
    let (code, log) = run.end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("keeper"), "{log}");
    assert!(!lives("sleep 7111111"));
    assert_eq!(job.run("after_script", "echo never").end().0, Some(2), "a stage without its keeper fails");
    job.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_killed_run_stage_ends_the_job_and_the_lock_stays_until_cleanup() {
    let host = Host::new("");
    let job = host.job(1);
    assert_eq!(job.prepare().end().0, Some(0));
    let run = job.run("build_script", "sleep 7222222");
    eventually("the script runs", || lives("sleep 7222222"));
    run.kill();
    eventually("the script is ended", || !lives("sleep 7222222"));
    assert_eq!(host.jobs("holders"), [1]);
    assert!(job.cleanup().status.success());
    host.nothing_is_left();
}

#[test]
fn a_waiter_buries_a_dead_holder_of_its_host() {
    let host = Host::new("");
    let (dead, next) = (host.job(1), host.job(2));
    assert_eq!(dead.prepare().end().0, Some(0));
    assert_eq!(dead.run("build_script", "setsid sleep 7333333 & disown").end().0, Some(0));
    let waiting = next.prepare();
    eventually("it waits", || host.jobs("queue") == [2]);
    kill_process(dead.keeper(), Signal::KILL).unwrap();
    assert_eq!(waiting.end().0, Some(0));
    assert!(!lives("sleep 7333333"), "the survivors end before the lock goes on");
    next.cleanup();
    dead.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_stopped_keeper_is_no_obstacle_for_cleanup() {
    let host = Host::new("");
    let job = host.job(1);
    assert_eq!(job.prepare().end().0, Some(0));
    assert_eq!(job.run("build_script", "setsid sleep 7444444 & disown").end().0, Some(0));
    kill_process(job.keeper(), Signal::STOP).unwrap();
    assert!(job.cleanup().status.success());
    assert!(!lives("sleep 7444444"));
    host.nothing_is_left();
}

#[test]
fn a_canceled_job_is_told_and_its_lock_is_free_after_cleanup() {
    let host = Host::new("");
    let job = host.job(1);
    assert_eq!(job.prepare().end().0, Some(0));
    let run = job.run("build_script", "trap 'exit 1' TERM; sleep 7555555 & wait");
    eventually("the script runs", || lives("sleep 7555555"));
    run.signal(Signal::TERM);
    assert_eq!(run.end().0, Some(1));
    job.cleanup();
    assert!(!lives("sleep 7555555"));
    host.nothing_is_left();
}
