//! Around another driver: whoever dies and whatever is lost, the driver's cleanup comes, and before the lock goes on
//! where that is still to be had.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    harness::{Host, LOCK, Proxy, Stage, Store, endpoint, eventually, within},
    stand_in::{StandIn, Step, act},
    wrapped_driver::{host, on_a_table, settings},
};

const STAND_IN: &str = "wrapped_deaths::stands_in_for_a_runner";

#[test]
fn stands_in_for_a_runner() {
    act();
}

/// Its cleanup notes who holds the lock, and takes its time so that a lock given back too early would be seen.
fn notes_and_lingers(host: &Host) {
    host.driver_does(
        "cleanup",
        &format!("{}sleep 0.5; touch {}/cleaned", host.notes_holders("holders"), host.path().display()),
    );
}

fn cleaned(host: &Host) -> bool {
    host.path().join("cleaned").exists()
}

#[test]
fn the_script_of_a_killed_runner_comes_to_its_end_then_the_cleanup_then_the_next_job() {
    let host = host("");
    notes_and_lingers(&host);
    let lines = format!("{}seq 50000\n{}", host.gate("go"), host.tells("end", "$$"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(lines)]);
    host.until_reached("go");
    let next = host.job(2).attempt();
    let waiting = next.prepare();
    host.until_queued(&[2]);
    runner.kill();
    host.open("go");
    eventually("the script is at its end", || host.path().join("end").exists());
    eventually("the next job has the lock", || host.holders() == [2]);
    assert!(cleaned(&host), "the cleanup is over before the next job begins");
    assert_eq!(host.noted_holders("holders"), [1]);
    waiting.end().with_code(0);
    next.finish();
    host.is_clean_soon();
}

#[test]
fn stop_ends_the_script_of_a_killed_runner_and_calls_the_cleanup() {
    let host = Host::local(&format!("{}\norphan: stop", settings("")));
    notes_and_lingers(&host);
    let lines = format!("sleep 600 & {}wait", host.tells("below", "$!"));
    let mut runner = StandIn::start(STAND_IN, &host.job(1), &[Step::Prepare, Step::Run(lines)]);
    let below = host.told("below");
    runner.kill();
    within(Duration::from_secs(4), "the script is ended", || !below.lives());
    eventually("the cleanup is called", || cleaned(&host));
    assert_eq!(host.noted_holders("holders"), [1]);
    host.is_clean_soon();
}

fn keeper_killed_while_the_job_runs(host: &Host) {
    notes_and_lingers(host);
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("sleep 600 & {}wait", host.tells("below", "$!")));
    let below = host.told("below");
    job.keeper().signal(Signal::KILL);
    run.end().with_code(2).with_text(&["keeper was killed"]);
    assert!(cleaned(host) && !below.lives());
    assert_eq!(host.noted_holders("holders"), [1], "the cleanup comes before the lock is given back");
    assert_eq!(host.holders(), [0; 0]);
    job.finish();
    assert_eq!(host.driver_called("cleanup"), 1);
    host.is_clean_soon();
}

#[test]
fn a_keeper_killed_while_the_job_runs_leaves_the_cleanup_to_the_run_stage() {
    keeper_killed_while_the_job_runs(&host(""));
    keeper_killed_while_the_job_runs(&on_a_table(""));
}

#[test]
fn a_keeper_killed_between_the_stages_leaves_the_cleanup_to_the_cleanup_stage() {
    let host = host("");
    notes_and_lingers(&host);
    let job = host.job(1).prepared();
    let keeper = job.keeper();
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    let mut late = job.command(&["cleanup"]);
    late.env("CUSTOM_ENV_CI_JOB_STATUS", "failed");
    Stage::start(late, false).end().with_code(0);
    assert_eq!(host.noted_holders("holders"), [1]);
    let seen = host.driver_environment("cleanup");
    assert_eq!(seen["CUSTOM_ENV_CI_JOB_STATUS"], "failed", "its own stage's environment");
    assert_eq!(seen["PIPELINE_LOCK_NAME"], LOCK);
    host.is_clean_soon();
}

#[test]
fn a_keeper_killed_between_the_stages_leaves_the_cleanup_to_a_waiter() {
    for host in [host(""), on_a_table("")] {
        notes_and_lingers(&host);
        let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
        let waiting = next.prepare();
        host.until_queued(&[2]);
        dead.keeper().signal(Signal::KILL);
        waiting.end().with_code(0);
        assert!(cleaned(&host), "the dead job's machines are gone before the next one begins");
        assert_eq!(host.noted_holders("holders"), [1]);
        assert_eq!(host.driver_environment("cleanup")["CUSTOM_ENV_CI_JOB_ID"], "1");
        dead.finish();
        assert_eq!((host.driver_called("cleanup"), host.holders()), (1, vec![2]));
        next.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_cleanup_by_a_burier_is_bounded_too() {
    let host = host("  cleanup_exec_timeout: 500ms\n  graceful_kill_timeout: 200ms");
    host.driver_does(
        "cleanup",
        &format!("trap '' TERM; {}while true; do sleep 1; done", host.tells("deaf", "$$")),
    );
    let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = next.prepare();
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    waiting.end().with_code(0);
    next.cleanup().with_code(2);
    dead.finish();
    host.is_clean_soon();
}

#[test]
fn a_waiter_that_is_canceled_while_it_buries_leaves_at_once_and_the_cleanup_goes_on() {
    let host = host("");
    host.driver_does("cleanup", &format!("{}touch {}/cleaned", host.gate("in"), host.path().display()));
    let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = next.prepare();
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    host.until_reached("in");
    waiting.term();
    waiting.end().with_code(2).with_text(&["the queue is left"]);
    next.finish();
    host.open("in");
    eventually("the cleanup comes to its end", || cleaned(&host));
    let third = host.job(3).prepared();
    assert_eq!(host.driver_called("cleanup"), 1);
    dead.finish();
    third.finish();
    host.is_clean_soon();
}

#[test]
fn a_job_whose_keeper_cleans_up_after_a_dead_one_begins_after_that_and_does_not_end_it() {
    let host = on_a_table("");
    let done = host.path().join("done").display().to_string();
    host.driver_does("cleanup", &format!("{}touch {done}.$CUSTOM_ENV_CI_JOB_ID", host.gate("in")));
    let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = next.prepare();
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    host.until_reached("in");
    eventually("the dead one's lease is over", || host.holders() == [2]);
    eventually("it waits for the cleanup", || next.keeper_log().contains("begins when"));
    let refused = next.script_ends("echo never").with_code(2);
    assert!(!refused.text().contains("never\n"), "{}", refused.text());
    host.open("in");
    waiting.end().with_code(0).with_text(&["is cleaned up"]);
    assert!(host.path().join("done.1").exists(), "the cleanup of the dead job was ended");
    next.script_ends("echo begun").with_code(0).with_text(&["begun"]);
    next.finish();
    dead.finish();
    assert!(host.path().join("done.2").exists());
    host.is_clean_soon();
}

#[test]
fn a_keeper_killed_in_the_drivers_cleanup_has_it_called_again() {
    let host = host("");
    host.driver_does("cleanup", &host.gate("in"));
    let job = host.job(1).prepared();
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    host.until_reached("in");
    job.keeper().signal(Signal::KILL);
    eventually("it is called again", || host.driver_called("cleanup") == 2);
    assert_eq!(host.holders(), [1]);
    host.open("in");
    cleanup.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn a_killed_run_stage_ends_the_script_and_the_cleanup_comes_with_its_stage() {
    let host = host("");
    notes_and_lingers(&host);
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("sleep 600 & {}wait", host.tells("below", "$!")));
    let below = host.told("below");
    run.kill();
    eventually("the script is ended", || !below.lives());
    assert_eq!((host.driver_called("cleanup"), host.holders()), (0, vec![1]));
    job.finish();
    assert_eq!((host.driver_called("cleanup"), host.noted_holders("holders")), (1, vec![1]));
    host.is_clean_soon();
}

#[test]
fn a_revoked_job_is_ended_and_cleaned_up_before_the_lock_goes_on() {
    let host = host("");
    notes_and_lingers(&host);
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("sleep 600 & {}wait", host.tells("below", "$!")));
    let below = host.told("below");
    let mut force = host.site.program("config.yaml");
    force.args(["acquire", "--name", LOCK, "--wait", "60s", "--force-after", "0"]);
    Stage::start(force, false).end().with_code(0);
    assert!(!below.lives() && cleaned(&host));
    assert_eq!(host.noted_holders("holders"), [1]);
    run.end().with_code(2).with_text(&["was revoked"]);
    job.finish();
    let seen = host.driver_environment("cleanup");
    assert!(seen["PIPELINE_LOCK_LOST"].contains("revoked"), "{seen:?}");
    assert_eq!(host.driver_called("cleanup"), 1, "once is enough");
    let mut release = host.site.program("config.yaml");
    release.args(["release", "--name", LOCK]);
    Stage::start(release, false).end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn a_job_that_is_cut_off_from_the_store_is_ended_in_time_and_cleaned_up() {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let first = Host::through(&table, &proxy.url, &settings(""));
    let second = Host::new(&table, "");
    let job = first.job(1).prepared();
    let deaf = format!("trap '' TERM; {}while true; do sleep 1; done", first.tells("deaf", "$$"));
    let run = Stage::start(job.command(&["run", &job.raw_script(&deaf), "build_script"]), false);
    let deaf = first.told("deaf");
    let next = second.job(2).attempt();
    let waiting = next.prepare();
    second.until_queued(&[2]);
    proxy.cut();
    run.end().with_code(2).with_text(&["was lost"]);
    eventually("the next job has the lock", || second.holders() == [2]);
    assert!(!deaf.lives(), "the driver's processes are gone before the lease is over");
    eventually("the cleanup is called", || first.driver_called("cleanup") == 1);
    assert!(first.driver_environment("cleanup").contains_key("PIPELINE_LOCK_LOST"));
    proxy.mend();
    job.finish();
    assert_eq!(first.driver_called("cleanup"), 1);
    waiting.end().with_code(0);
    next.finish();
    first.nothing_is_left();
    second.is_clean_soon();
}

#[test]
fn a_keeper_that_is_told_to_end_calls_the_cleanup_before_it_releases() {
    let host = host("");
    notes_and_lingers(&host);
    let job = host.job(1).prepared();
    job.keeper().signal(Signal::TERM);
    eventually("the lock is free", || host.holders().is_empty());
    assert!(cleaned(&host));
    assert_eq!(host.noted_holders("holders"), [1]);
    job.finish();
    assert_eq!(host.driver_called("cleanup"), 1);
    host.is_clean_soon();
}

#[test]
fn a_job_whose_folder_is_gone_is_cleaned_up() {
    let host = host("");
    notes_and_lingers(&host);
    let job = host.job(1).prepared();
    std::fs::remove_dir_all(&job.dir).unwrap();
    // The keeper looks for the folder every ten seconds.
    within(Duration::from_secs(15), "the lock is free", || host.holders().is_empty());
    assert!(cleaned(&host));
    host.is_clean_soon();
}

#[test]
fn a_retried_prepare_cleans_up_after_its_older_try() {
    let host = host("");
    notes_and_lingers(&host);
    let older = host.job(1).prepared();
    let newer = host.job(1).prepared();
    assert!(cleaned(&host), "what the older try made is taken down");
    assert_eq!((host.noted_holders("holders"), host.holders()), (vec![1], vec![1]));
    older.cleanup().with_code(0);
    assert_eq!(host.holders(), [1]);
    newer.finish();
    assert_eq!(host.driver_called("cleanup"), 2);
    host.is_clean_soon();
}
