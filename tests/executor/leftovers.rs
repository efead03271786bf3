//! What a job leaves behind lives on over its stages, and is gone before the next job has the lock.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    harness::{Attempt, Host, Process, Stage, eventually},
    on_both_stores,
};

/// Children that a job may leave behind, each in a way of its own.
const CHILDREN: [(&str, &str); 6] = [
    ("background", "sleep 600 </dev/null >/dev/null 2>&1 &"),
    ("session", "setsid sleep 600 </dev/null >/dev/null 2>&1 &"),
    ("deaf", "bash -c 'trap \"\" TERM INT HUP; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &"),
    ("bare", "env -i setsid sleep 600 </dev/null >/dev/null 2>&1 &"),
    ("stopped", "bash -c 'kill -STOP $$' </dev/null >/dev/null 2>&1 &"),
    ("holding", "setsid sleep 600 &"),
];

/// Starts all of them, and a daemon that forked twice.
fn leaves_children(host: &Host, job: &Attempt) -> Vec<Process> {
    let mut lines: String =
        CHILDREN.iter().map(|(name, line)| format!("{line}\n{}", host.tells(name, "$!"))).collect();
    lines += &format!(
        "(setsid bash -c '(sleep 600 & {}) &' >/dev/null 2>&1)\n",
        host.tells("daemon", "\\$!").trim_end()
    );
    let lines = lines.replace("echo \\$!", "echo $!");
    job.script_ends(&lines).with_code(0);
    let names = CHILDREN.iter().map(|(name, _)| *name).chain(["daemon"]);
    names.map(|name| host.told(name)).collect()
}

on_both_stores! {
    what_is_left_behind_lives_on_over_the_stages_and_ends_at_cleanup
    the_next_job_begins_when_nothing_of_the_last_one_lives
}

fn what_is_left_behind_lives_on_over_the_stages_and_ends_at_cleanup(host: &Host) {
    let job = host.job(1).prepared();
    let children = leaves_children(host, &job);
    job.run("after_script", "true").end().with_code(0);
    for child in &children {
        assert!(child.lives(), "{child:?}");
    }
    let cleanup = job.cleanup().with_code(0);
    for child in &children {
        assert!(!child.lives(), "{child:?}");
    }
    assert!(cleanup.error_text().contains("sleep"), "cleanup tells what it ended: {}", cleanup.error_text());
    host.is_clean_soon();
}

fn the_next_job_begins_when_nothing_of_the_last_one_lives(host: &Host) {
    let (first, second) = (host.job(1).prepared(), host.job(2).attempt());
    let children = leaves_children(host, &first);
    let waiting = second.prepare();
    host.until_queued(&[2]);
    let cleanup = Stage::start(first.command(&["cleanup"]), false);
    waiting.end().with_code(0);
    for child in &children {
        assert!(!child.lives(), "{child:?} lives beside the next holder");
    }
    cleanup.end().with_code(0);
    second.finish();
    host.is_clean_soon();
}

#[test]
fn wait_lets_the_job_end_by_itself() {
    let host = Host::local("survivors: wait");
    let (job, next) = (host.job(1).prepared(), host.job(2).attempt());
    let lines = format!("({}) >/dev/null 2>&1 &\n{}", host.gate("child"), host.tells("pid", "$!"));
    job.script_ends(&lines).with_code(0);
    let waiting = next.prepare();
    host.until_queued(&[2]);
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    host.until_reached("child");
    let child = host.told("pid");
    // Cleanup has told its keeper when the keeper looks after its processes.
    eventually("the keeper waits", || job.keeper_log().contains("by themselves"));
    assert!(child.lives());
    assert_eq!(host.holders(), [1]);
    host.open("child");
    cleanup.end().with_code(0);
    assert!(!child.lives());
    waiting.end().with_code(0);
    next.finish();
    host.is_clean_soon();
}

#[test]
fn wait_lets_the_job_end_by_itself_also_when_its_keeper_was_told_to_end() {
    let host = Host::local("survivors: wait");
    let job = host.job(1).prepared();
    let lines = format!("({}) >/dev/null 2>&1 &\n{}", host.gate("child"), host.tells("pid", "$!"));
    job.script_ends(&lines).with_code(0);
    host.until_reached("child");
    let child = host.told("pid");
    job.keeper().signal(rustix::process::Signal::TERM);
    eventually("the keeper is told", || job.keeper_log().contains("told to end"));
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    eventually("the keeper waits", || job.keeper_log().contains("by themselves"));
    assert!(child.lives());
    host.open("child");
    let said = cleanup.end().with_code(0);
    assert!(!said.error_text().contains("were ended"), "{}", said.error_text());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn leave_gives_the_lock_back_and_the_daemon_goes_on() {
    let host = Host::local("survivors: leave");
    let job = host.job(1).prepared();
    let lines = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("daemon", "$!"));
    job.script_ends(&lines).with_code(0);
    let daemon = host.told("daemon");
    job.finish();
    host.job(2).prepared().finish();
    assert!(daemon.lives(), "a build daemon goes on");
    daemon.signal(rustix::process::Signal::KILL);
    host.is_clean_soon();
}

#[test]
fn a_fork_storm_is_ended_by_cleanup() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    // Each process starts its successor and ends: no list of processes is true for long.
    host.write("storm", "#!/bin/sh\nsleep 0.01\n\"$0\" &\n");
    let storm = host.path().join("storm");
    let lines = format!(
        "chmod +x {0}\nfor i in 1 2 3 4; do setsid {NICE} {0} </dev/null >/dev/null 2>&1 & done",
        storm.display()
    );
    job.script_ends(&lines).with_code(0);
    let started = Instant::now();
    job.finish();
    assert!(started.elapsed() < Duration::from_secs(8), "it took {:?}", started.elapsed());
    host.is_clean_soon();
}

/// For what keeps a processor busy: other tests run beside it, and mind their time.
const NICE: &str = "nice -n 19";

/// Whether somebody has the file's flock, as all have that inherit it: however short each of them lives.
fn somebody_has(file: &Path) -> bool {
    let file = File::open(file).expect("a script made it");
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn who_is_another_process_at_each_look_ends_before_the_lock_goes() {
    for without_cgroup in [true, false] {
        let host = Host::local("");
        let job = host.job(1).attempt();
        if without_cgroup {
            job.prepare_without_cgroup()
        } else {
            drop(job.prepare().end().with_code(0))
        }
        let file = host.path().join("lives");
        // Each starts the next one and ends, at once: before anybody can have looked at it. For 20 s at most.
        let hop = "my $end = time + 20; while (time < $end) { fork and exit }";
        job.script_ends(&format!(
            "exec 9>{}; flock 9; setsid {NICE} perl -e '{hop}' </dev/null >/dev/null 2>&1 &",
            file.display()
        ))
        .with_code(0);
        assert!(somebody_has(&file));
        let started = Instant::now();
        job.finish();
        assert!(!somebody_has(&file), "the lock went before it");
        // Two for TERM; seconds less than it lives by itself.
        assert!(started.elapsed() < Duration::from_secs(8), "it took {:?}", started.elapsed());
        host.is_clean_soon();
    }
}

#[test]
fn a_script_that_still_runs_at_cleanup_is_no_survivor() {
    for survivors in ["wait", "leave"] {
        let host = Host::local(&format!("survivors: {survivors}"));
        let job = host.job(1).prepared();
        let run = job.run("build_script", &format!("{}sleep 600", host.tells("shell", "$BASHPID")));
        let shell = host.told("shell");
        job.cleanup().with_code(0);
        assert!(!shell.lives(), "survivors: {survivors}");
        assert_ne!(run.end().code, Some(0));
        host.is_clean_soon();
    }
}
