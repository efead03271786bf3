//! Jobs that wait for each other.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    harness::{Host, Stage, eventually, within},
    on_both_stores,
};

on_both_stores! {
    an_uncontended_job_takes_its_lock_and_gives_it_back
    two_jobs_run_one_after_the_other_and_the_second_says_why_it_waits
    first_come_first_served
    a_canceled_wait_leaves_the_queue_at_once
    a_wait_that_is_over_fails_the_job_and_leaves_the_queue
    a_retried_prepare_keeps_its_place
    a_waiter_whose_folder_the_runner_removed_leaves_the_queue
}

fn an_uncontended_job_takes_its_lock_and_gives_it_back(host: &Host) {
    let job = host.job(1).attempt();
    let prepared =
        job.prepare().end().with_code(0).with_text(&["gitlab.example.com/shop/web acquired", "fence"]);
    assert!(!prepared.text().contains("Waiting"), "{}", prepared.text());
    assert_eq!(host.holders(), [1]);
    job.script_ends("true").with_code(0);
    assert_eq!(host.holders(), [1], "the lock is held between the stages");
    let cleanup = job.finish().with_text(&["gitlab.example.com/shop/web is released"]);
    assert_eq!(cleanup.error_text(), "", "nothing to warn of");
    host.is_clean_soon();
}

fn two_jobs_run_one_after_the_other_and_the_second_says_why_it_waits(host: &Host) {
    let (first, second) = (host.job(1).of_pipeline(4711).prepared(), host.job(2).attempt());
    let waiting = second.prepare();
    host.until_queued(&[2]);
    waiting.says("place 1 of 1");
    let script = first.run("build_script", &host.gate("first"));
    host.until_reached("first");
    assert_eq!((host.holders(), host.queue()), (vec![1], vec![2]));
    host.open("first");
    script.end().with_code(0);
    first.finish();
    waiting.end().with_code(0).with_text(&[
        "gitlab.example.com/shop/web",
        "deploy-1",
        "pipeline #4711",
        "by mara",
        "https://gitlab.example.com/shop/web/-/jobs/1",
        "place 1 of 1",
        "acquired after",
    ]);
    assert_eq!(host.holders(), [2]);
    second.finish();
    host.is_clean_soon();
}

fn first_come_first_served(host: &Host) {
    let holder = host.job(1).prepared();
    let mut waiting = Vec::new();
    for id in 2..=6 {
        let job = host.job(id).attempt();
        let prepare = job.prepare();
        eventually("it queues", || host.queue().last() == Some(&id));
        waiting.push((id, job, prepare));
    }
    assert_eq!(host.queue(), [2, 3, 4, 5, 6]);
    holder.finish();
    for (id, job, prepare) in waiting {
        prepare.end().with_code(0);
        assert_eq!(host.holders(), [id]);
        job.script_ends("true").with_code(0);
        job.finish();
    }
    host.is_clean_soon();
}

fn a_canceled_wait_leaves_the_queue_at_once(host: &Host) {
    let (holder, canceled) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = canceled.prepare();
    host.until_queued(&[2]);
    let told = Instant::now();
    waiting.term();
    waiting.end().with_code(2);
    assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
    assert_eq!(host.queue(), [0; 0], "prepare ends after it has left");
    holder.finish();
    within(Duration::from_secs(1), "the lock stays free", || host.holders().is_empty());
    canceled.finish();
    host.is_clean_soon();
}

fn a_wait_that_is_over_fails_the_job_and_leaves_the_queue(host: &Host) {
    let (holder, late) = (host.job(1).prepared(), host.job(2).variable("PIPELINE_LOCK_WAIT", "1s").attempt());
    late.prepare().end().with_code(1).with_text(&["not free within 1 s", "deploy-1"]);
    assert_eq!(host.queue(), [0; 0]);
    late.finish();
    holder.finish();
    host.is_clean_soon();
}

fn a_retried_prepare_keeps_its_place(host: &Host) {
    let (holder, second, third) = (host.job(1).prepared(), host.job(2).attempt(), host.job(3).attempt());
    let died = second.prepare();
    host.until_queued(&[2]);
    let behind = third.prepare();
    host.until_queued(&[2, 3]);
    died.kill();
    died.end();
    second.finish();
    let again = host.job(2).attempt();
    assert_ne!(again.token(), second.token());
    let retried = again.prepare();
    retried.says("place 1 of 2");
    assert_eq!(host.queue(), [2, 3]);
    holder.finish();
    retried.end().with_code(0);
    assert_eq!(host.holders(), [2]);
    again.finish();
    behind.end().with_code(0);
    third.finish();
    host.is_clean_soon();
}

#[test]
fn a_cancel_at_the_moment_of_the_grant_leaves_nothing_behind() {
    let host = Host::local("");
    for round in 0..8 {
        let (holder, canceled) = (host.job(1).prepared(), host.job(2).attempt());
        let mut waiting = canceled.prepare();
        host.until_queued(&[2]);
        let cleanup = Stage::start(holder.command(&["cleanup"]), false);
        std::thread::sleep(Duration::from_millis(3 * round));
        if waiting.runs() {
            waiting.term();
        }
        let code = waiting.end().code;
        assert!(code == Some(0) || code == Some(2), "{code:?}");
        cleanup.end().with_code(0);
        canceled.finish();
        host.is_clean_soon();
    }
}

#[test]
fn no_script_runs_before_its_job_has_the_lock() {
    let host = Host::local("");
    let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = waiter.prepare();
    host.until_queued(&[2]);
    let early = waiter.script_ends("echo never").with_code(2).with_text(&["not held yet"]);
    assert!(!early.text().contains("never\n"), "{}", early.text());
    assert_eq!(host.queue(), [2]);
    holder.finish();
    waiting.end().with_code(0);
    waiter.finish();
    host.is_clean_soon();
}

#[test]
fn quit_and_hangup_leave_a_wait_alone() {
    let host = Host::local("");
    let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = waiter.prepare();
    waiting.says("place 1 of 1");
    for signal in [Signal::QUIT, Signal::HUP] {
        waiting.signal(signal);
    }
    holder.finish();
    waiting.end().with_code(0);
    assert_eq!(host.holders(), [2]);
    waiter.finish();
    host.is_clean_soon();
}

fn a_waiter_whose_folder_the_runner_removed_leaves_the_queue(host: &Host) {
    let (holder, left) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = left.prepare();
    host.until_queued(&[2]);
    std::fs::remove_dir_all(&left.dir).unwrap();
    // The keeper looks for it every ten seconds.
    within(Duration::from_secs(15), "the queue is left", || host.queue().is_empty());
    waiting.end().with_code(2);
    holder.finish();
    host.is_clean_soon();
}
