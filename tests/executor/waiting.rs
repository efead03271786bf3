//! Jobs that wait for each other.

use rustix::process::Signal;

use crate::harness::{Host, eventually};

#[test]
fn two_jobs_run_one_after_the_other_and_the_second_says_why_it_waits() {
    let host = Host::new("");
    let (first, second) = (host.job(1), host.job(2));
    assert_eq!(first.prepare().end().0, Some(0));
    let waiting = second.prepare();
    eventually("the second waits", || host.jobs("queue") == [2]);
    assert_eq!(host.jobs("holders"), [1]);
    assert!(first.cleanup().status.success());
    let (code, log) = waiting.end();
    assert_eq!(code, Some(0));
    for part in ["git.example/shop/web", "deploy-1", "shop/web/-/jobs/1", "place 1 of 1", "acquired after"] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert_eq!(host.jobs("holders"), [2]);
    assert!(second.cleanup().status.success());
    host.nothing_is_left();
}

#[test]
fn first_come_first_served() {
    let host = Host::new("");
    let holder = host.job(1);
    assert_eq!(holder.prepare().end().0, Some(0));
    let jobs: Vec<_> = (2..=5).map(|id| (id, host.job(id))).collect();
    let mut waiting = Vec::new();
    for (id, job) in &jobs {
        waiting.push(job.prepare());
        eventually("it queues", || host.jobs("queue").last() == Some(id));
    }
    holder.cleanup();
    for ((id, job), prepare) in jobs.iter().zip(waiting) {
        assert_eq!(prepare.end().0, Some(0));
        assert_eq!(host.jobs("holders"), [*id]);
        job.cleanup();
    }
    host.nothing_is_left();
}

#[test]
fn a_canceled_wait_leaves_the_queue_at_once() {
    let host = Host::new("");
    let (holder, canceled) = (host.job(1), host.job(2));
    assert_eq!(holder.prepare().end().0, Some(0));
    let waiting = canceled.prepare();
    eventually("it waits", || host.jobs("queue") == [2]);
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().0, Some(2));
    assert!(host.jobs("queue").is_empty(), "prepare ends after it has left");
    canceled.cleanup();
    holder.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_wait_that_is_over_fails_the_job_and_leaves_the_queue() {
    let host = Host::new("wait: 1s");
    let (holder, late) = (host.job(1), host.job(2));
    assert_eq!(holder.prepare().end().0, Some(0));
    let (code, log) = late.prepare().end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("not free within 1 s") && log.contains("deploy-1"), "{log}");
    assert!(host.jobs("queue").is_empty());
    late.cleanup();
    holder.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_retried_prepare_keeps_its_place() {
    let host = Host::new("");
    let (holder, second, third) = (host.job(1), host.job(2), host.job(3));
    assert_eq!(holder.prepare().end().0, Some(0));
    let died = second.prepare();
    eventually("the second waits", || host.jobs("queue") == [2]);
    let token = host.status()["queue"][0]["token"].clone();
    let behind = third.prepare();
    eventually("the third waits", || host.jobs("queue") == [2, 3]);
    died.kill();
    died.end();
    second.cleanup();
    let again = host.job(2);
    let retried = again.prepare();
    eventually("the retry has the place", || {
        host.jobs("queue") == [2, 3] && host.status()["queue"][0]["token"] != token
    });
    holder.cleanup();
    assert_eq!(retried.end().0, Some(0));
    assert_eq!(host.jobs("holders"), [2]);
    again.cleanup();
    assert_eq!(behind.end().0, Some(0));
    third.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_broken_file_is_told_in_the_jobs_log_with_its_place() {
    let host = Host::new("heartbaet: 3s");
    let (code, log) = host.job(1).prepare().end();
    assert_eq!(code, Some(2));
    assert!(log.contains("heartbeat") && log.contains("config.yaml"), "{log}");
}
