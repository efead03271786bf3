//! The runner is killed with -9: nobody tells its jobs, and no cleanup ever comes.

use std::{process::Command, time::Duration};

use rustix::process::Signal;

use crate::{
    harness::{Host, eventually, found, within},
    on_both_stores,
    revoked::{force, release},
    stand_in::{StandIn, Step, act},
};

const STAND_IN: &str = "orphans::stands_in_for_a_runner";

#[test]
fn stands_in_for_a_runner() {
    act();
}

on_both_stores! {
    a_runner_that_lives_brings_its_job_to_its_end
    a_waiter_whose_runner_is_killed_leaves_the_queue_and_never_gets_the_lock
    a_place_that_is_kept_for_a_retry_goes_with_the_runner
    a_job_between_two_stages_ends_with_its_runner
    a_keeper_that_was_told_to_end_ends_the_job_of_a_killed_runner
    the_script_of_a_killed_runner_comes_to_its_end_and_then_the_next_job_begins
}

fn a_runner_that_lives_brings_its_job_to_its_end(host: &Host) {
    let steps = [Step::Prepare, Step::Run(host.gate("go"))];
    let runner = StandIn::start(STAND_IN, &host.job(1), &steps);
    host.until_reached("go");
    assert_eq!(host.holders(), [1]);
    host.open("go");
    eventually("the lock is free", || host.holders().is_empty());
    host.is_clean_soon();
    drop(runner);
}

fn a_waiter_whose_runner_is_killed_leaves_the_queue_and_never_gets_the_lock(host: &Host) {
    let holder = host.job(1).prepared();
    let steps = [Step::Prepare, Step::Run(host.tells("ran", "$$"))];
    let mut runner = StandIn::start(STAND_IN, &host.job(2), &steps);
    host.until_queued(&[2]);
    runner.kill();
    within(Duration::from_secs(2), "the queue is left", || host.queue().is_empty());
    holder.finish();
    host.is_clean_soon();
    assert!(!host.path().join("ran").exists());
}

fn a_place_that_is_kept_for_a_retry_goes_with_the_runner(host: &Host) {
    let holder = host.job(1).prepared();
    let mut runner = StandIn::start(STAND_IN, &host.job(2), &[Step::PrepareInVain, Step::Pause]);
    host.until_queued(&[2]);
    runner.stage("prepare").expect("it waits").signal(Signal::KILL);
    eventually("the place is kept", || host.keeper_logs().contains("its place is kept"));
    assert_eq!(host.queue(), [2]);
    runner.kill();
    within(Duration::from_secs(2), "the queue is left", || host.queue().is_empty());
    holder.finish();
    host.is_clean_soon();
}

fn a_job_between_two_stages_ends_with_its_runner(host: &Host) {
    let left = format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(left), Step::Pause]);
    let left = host.told("left");
    eventually("the stage is over", || runner.stage("build_script").is_none());
    assert_eq!(host.holders(), [1]);
    runner.kill();
    within(Duration::from_secs(3), "what the job left is ended", || !left.lives());
    host.is_clean_soon();
}

fn a_keeper_that_was_told_to_end_ends_the_job_of_a_killed_runner(host: &Host) {
    let left = format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(left), Step::Pause]);
    let left = host.told("left");
    eventually("the stage is over", || runner.stage("build_script").is_none());
    host.keepers()[0].signal(Signal::TERM);
    eventually("the keeper waits for the end of the job", || host.keeper_logs().contains("told to end"));
    assert!(left.lives());
    assert_eq!(host.holders(), [1]);
    runner.kill();
    within(Duration::from_secs(3), "what the job left is ended", || !left.lives());
    host.is_clean_soon();
}

fn the_script_of_a_killed_runner_comes_to_its_end_and_then_the_next_job_begins(host: &Host) {
    // It writes more than a pipe holds, and nobody reads it any more.
    let lines = format!("{}seq 50000\n{}", host.gate("go"), host.tells("end", "$$"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(lines)]);
    host.until_reached("go");
    let next = host.job(2).attempt();
    let waiting = next.prepare();
    host.until_queued(&[2]);
    runner.kill();
    // Long enough for a keeper that would end the job with its runner to have noticed.
    let run = found("the orphaned stage", || runner.stage("build_script"));
    assert!(run.lives());
    host.job(3).variable("PIPELINE_LOCK_WAIT", "1s").attempt().prepare().end().with_code(1);
    assert_eq!(host.holders(), [1], "the orphan holds its lock while it works");
    host.open("go");
    eventually("the script is at its end", || host.path().join("end").exists());
    within(Duration::from_secs(1), "the next job has the lock", || host.holders() == [2]);
    waiting.end().with_code(0);
    next.finish();
    host.is_clean_soon();
}

#[test]
fn stop_ends_the_script_of_a_killed_runner() {
    let host = Host::local("orphan: stop");
    let lines = format!("sleep 600 & {}wait", host.tells("below", "$!"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(lines)]);
    let below = host.told("below");
    runner.kill();
    within(Duration::from_secs(4), "the script is ended", || !below.lives());
    host.is_clean_soon();
}

#[test]
fn the_children_of_an_orphaned_script_end_with_it() {
    let host = Host::local("");
    let lines = format!("setsid sleep 600 >/dev/null & {}{}", host.tells("left", "$!"), host.gate("go"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(lines)]);
    let left = host.told("left");
    host.until_reached("go");
    runner.kill();
    host.open("go");
    within(Duration::from_secs(4), "what the script left is ended", || !left.lives());
    host.is_clean_soon();
}

#[test]
fn an_orphaned_script_is_bounded_by_its_jobs_timeout() {
    let host = Host::local("");
    let mut job = host.job(1);
    job.timeout = 1;
    let lines = format!("{}sleep 600", host.tells("shell", "$BASHPID"));
    let mut runner = StandIn::start(STAND_IN, &job, &[Step::Prepare, Step::Run(lines)]);
    let shell = host.told("shell");
    runner.kill();
    // The keeper looks at the time every ten seconds.
    within(Duration::from_secs(15), "the script is ended", || !shell.lives());
    host.is_clean_within(Duration::from_secs(4));
}

#[test]
fn the_keeper_of_a_revoked_job_ends_with_its_runner() {
    let host = Host::local("");
    let lines = format!("{}sleep 600", host.tells("shell", "$BASHPID"));
    let steps = [Step::Prepare, Step::Run(lines)];
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &steps);
    let shell = host.told("shell");
    runner.kill();
    // The orphan goes on with its lock, until somebody asks for it.
    let taking = force(&host);
    eventually("the orphan is ended", || !shell.lives());
    taking.end().with_code(0);
    release(&host);
    host.is_clean_within(Duration::from_secs(4));
}

#[test]
fn only_the_stages_own_parent_is_taken_for_the_runner() {
    let host = Host::local("orphan: stop");
    let mut job = host.job(1).attempt();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    job.env.insert("PIPELINE_LOCK_RUNNER".into(), format!("{}:{start}", other.id()));
    job.prepare().end().with_code(0);
    let run = job.run("build_script", &format!("{}echo finished", host.gate("go")));
    host.until_reached("go");
    other.kill().unwrap();
    other.wait().unwrap();
    // Whoever watched that process has heard of its end by the time that another job was told to wait.
    host.job(2).variable("PIPELINE_LOCK_WAIT", "1s").attempt().prepare().end().with_code(1);
    host.open("go");
    run.end().with_code(0).with_text(&["finished"]);
    job.finish();
    host.is_clean_soon();
}
