//! A keeper is stopped past its lease where the job has no cgroup: what has left its parents and its environment is known
//! to nobody but the keeper, below which it still is.

use rustix::process::Signal;

use crate::{
    deaths::hidden,
    harness::{Attempt, Host, LOCK, Process, Stage, Store, eventually},
};

/// Two hosts on one table, and a job of the first one that has the lock and no cgroup.
fn without_a_cgroup() -> (Host, Host, Attempt) {
    let table = Store::table();
    let (first, second) = (Host::new(&table, ""), Host::new(&table, ""));
    let job = first.job(1).attempt();
    job.prepare_without_cgroup();
    (first, second, job)
}

/// The keeper stands still, and the other host's job gets the lock when nothing of this one's lives.
#[track_caller]
fn ends_before_the_lock_goes_on(hosts: (&Host, &Host), job: &Attempt, hidden: Process, waiting: Stage) {
    let keeper = job.keeper();
    keeper.signal(Signal::STOP);
    eventually("the next job has the lock", || hosts.1.holders() == [2]);
    assert!(!hidden.lives(), "it lives beside the next holder");
    waiting.end().with_code(0);
    keeper.signal(Signal::CONT);
    job.finish();
    hosts.0.nothing_is_left();
}

#[test]
fn what_a_running_script_hides_is_ended_by_the_run_stage() {
    let (first, second, job) = without_a_cgroup();
    let next = second.job(2).attempt();
    let run = job.run("build_script", &format!("({} &)\nsleep 600", hidden(&first)));
    let (hidden, waiting) = (first.told("hidden"), next.prepare());
    second.until_queued(&[2]);
    ends_before_the_lock_goes_on((&first, &second), &job, hidden, waiting);
    run.end().with_code(2);
    next.finish();
    second.is_clean_soon();
}

#[test]
fn what_a_script_left_hidden_is_ended_by_the_sentinel() {
    let (first, second, job) = without_a_cgroup();
    let next = second.job(2).attempt();
    job.script_ends(&format!("{} &", hidden(&first))).with_code(0);
    let (hidden, waiting) = (first.told("hidden"), next.prepare());
    second.until_queued(&[2]);
    ends_before_the_lock_goes_on((&first, &second), &job, hidden, waiting);
    next.finish();
    second.is_clean_soon();
}

#[test]
fn what_a_command_of_exec_left_is_ended_before_the_lock_goes_on() {
    let table = Store::table();
    let (first, second) = (Host::new(&table, ""), Host::new(&table, ""));
    let deaf = "setsid bash -c 'trap \"\" TERM; while true; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &";
    let lines = format!("{deaf} {}{}", first.tells("deaf", "$!"), first.gate("go"));
    let mut command = first.site.program("config.yaml");
    command.args(["exec", "--name", LOCK, "--", "bash", "-c", &lines]);
    let exec = Stage::start(command, false);
    first.until_reached("go");
    let (deaf, keeper, next) = (first.told("deaf"), first.keepers()[0], second.job(2).attempt());
    let waiting = next.prepare();
    second.until_queued(&[2]);
    first.open("go");
    eventually("the command is at its end", || first.keeper_logs().contains("command has ended"));
    keeper.signal(Signal::STOP);
    assert!(deaf.lives(), "it does not heed TERM, and its grace is not over");
    eventually("the next job has the lock", || second.holders() == [2]);
    assert!(!deaf.lives(), "it lives beside the next holder");
    waiting.end().with_code(0);
    keeper.signal(Signal::CONT);
    exec.end();
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}
