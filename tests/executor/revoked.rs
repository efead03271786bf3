//! Somebody asks for the end of a hold: the job ends first, whoever else stops or waits meanwhile.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Host, LOCK, Stage, eventually};

/// Somebody who asks a live hold to end, and takes the lock then.
pub fn force(host: &Host) -> Stage {
    let mut command = host.site.program("config.yaml");
    command.args(["acquire", "--name", LOCK, "--wait", "60s", "--force-after", "0"]);
    Stage::start(command, false)
}

pub fn release(host: &Host) {
    let mut command = host.site.program("config.yaml");
    command.args(["release", "--name", LOCK]);
    Stage::start(command, false).end().with_code(0);
}

#[test]
fn a_keeper_that_stops_while_it_ends_a_revoked_job_leaves_it_to_the_run_stage() {
    let host = Host::dynamodb("kill_grace: 3s\nlease: 12s");
    let job = host.job(1).prepared();
    let lines = format!("trap '' TERM; {}while true; do sleep 1; done", host.tells("deaf", "$BASHPID"));
    let run = job.run("build_script", &lines);
    let deaf = host.told("deaf");
    let taking = force(&host);
    run.says("was revoked");
    let keeper = job.keeper();
    keeper.signal(Signal::STOP);
    assert!(deaf.lives(), "it does not heed TERM, and its grace is not over");
    run.end().with_code(2);
    assert!(!deaf.lives(), "the run stage ends it before the lease does");
    keeper.signal(Signal::CONT);
    taking.end().with_code(0);
    job.finish();
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_cleanup_that_waits_for_survivors_hears_of_a_revocation() {
    let host = Host::local("survivors: wait");
    let job = host.job(1).prepared();
    let lines = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("child", "$!"));
    job.script_ends(&lines).with_code(0);
    let child = host.told("child");
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    eventually("the keeper waits", || job.keeper_log().contains("by themselves"));
    let taking = force(&host);
    cleanup.end().with_code(0);
    assert!(!child.lives());
    taking.end().with_code(0);
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_revocation_on_one_host_is_heard_at_once() {
    let host = Host::local("lease: 60s\nheartbeat: 15s");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("{}sleep 600", host.tells("ready", "$$")));
    host.told("ready");
    let since = Instant::now();
    let taking = force(&host);
    run.end().with_code(2).with_text(&["was revoked"]);
    assert!(since.elapsed() < Duration::from_secs(8), "not before the next heartbeat: {:?}", since.elapsed());
    taking.end().with_code(0);
    job.finish();
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_job_that_failed_and_waits_for_its_cleanup_gives_a_revoked_lock_back() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("{}sleep 600", host.tells("script", "$BASHPID")));
    let script = host.told("script");
    run.kill();
    eventually("the script is ended", || !script.lives());
    assert_eq!(host.holders(), [1]);
    force(&host).end().with_code(0);
    job.script_ends("echo never").with_code(2);
    job.finish();
    release(&host);
    host.is_clean_soon();
}

/// A script that takes a moment to end well when it is told to.
fn ends_well(host: &Host) -> String {
    let (ready, done) = (host.tells("ready", "$BASHPID"), host.path().join("done").display().to_string());
    format!("trap 'sleep 0.3; touch {done}; exit 1' TERM\n{ready}while true; do sleep 0.02; done")
}

#[test]
fn a_revoked_job_has_its_grace() {
    let host = Host::local("kill_grace: 20s\nlease: 60s");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &ends_well(&host));
    host.told("ready");
    let taking = force(&host);
    run.end().with_code(2).with_text(&["was revoked"]);
    assert!(host.path().join("done").exists(), "it was killed before it had come to its end");
    taking.end().with_code(0);
    job.finish();
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_job_that_may_go_on_without_its_lock_is_ended_where_somebody_asks_for_it() {
    let host = Host::local("on_lost: continue");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("{}sleep 600", host.tells("shell", "$BASHPID")));
    let shell = host.told("shell");
    let taking = force(&host);
    run.end().with_code(2).with_text(&["was revoked"]);
    assert!(!shell.lives());
    taking.end().with_code(0);
    job.finish();
    release(&host);
    host.is_clean_soon();
}
