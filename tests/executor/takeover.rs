//! Stages that meet: a second try of a job beside its first, a cleanup beside a script that still runs.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    harness::{Host, Store, eventually, within},
    on_both_stores,
};

on_both_stores! {
    cleanup_ends_a_script_that_still_runs
    a_second_try_of_a_running_job_ends_the_first_and_has_its_hold
    a_cleanup_of_the_first_try_takes_nothing_from_the_second_that_takes_over_right_then
    a_keeper_told_to_end_between_the_stages_gives_the_lock_back_and_no_stage_runs
}

fn cleanup_ends_a_script_that_still_runs(host: &Host) {
    let (job, next) = (host.job(1).prepared(), host.job(2).attempt());
    let deaf = format!("trap '' TERM; {}while true; do sleep 1; done", host.tells("deaf", "$BASHPID"));
    let mut run = job.run("build_script", &deaf);
    let deaf = host.told("deaf");
    let waiting = next.prepare();
    host.until_queued(&[2]);
    // The runner waits five minutes for a canceled stage, then calls cleanup beside it.
    run.term();
    assert!(run.runs());
    let since = Instant::now();
    job.cleanup().with_code(0);
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    assert!(!deaf.lives());
    assert_ne!(run.end().code, Some(0));
    waiting.end().with_code(0);
    next.finish();
    host.is_clean_soon();
}

fn a_second_try_of_a_running_job_ends_the_first_and_has_its_hold(host: &Host) {
    let first = host.job(1).prepared();
    let run = first.run("build_script", &format!("{}sleep 600", host.tells("first", "$BASHPID")));
    let shell = host.told("first");
    let waiter = host.job(2).attempt();
    let waiting = waiter.prepare();
    host.until_queued(&[2]);
    let second = host.job(1).attempt();
    second.prepare().end().with_code(0);
    assert!(!shell.lives(), "the first try's processes end before the second has the lock");
    assert_ne!(run.end().code, Some(0));
    assert_eq!((host.holders(), host.queue()), (vec![1], vec![2]));
    first.finish();
    assert_eq!(host.holders(), [1], "the first try's cleanup takes nothing from the second");
    second.script_ends("true").with_code(0);
    second.finish();
    waiting.end().with_code(0);
    waiter.finish();
    host.is_clean_soon();
}

fn a_cleanup_of_the_first_try_takes_nothing_from_the_second_that_takes_over_right_then(host: &Host) {
    let (first, waiter) = (host.job(1).prepared(), host.job(2).attempt());
    let deaf = "bash -c 'trap \"\" TERM; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    let docile = format!("setsid sleep 600 >/dev/null & {}", host.tells("docile", "$!"));
    first.script_ends(&format!("{deaf}\n{}{docile}", host.tells("deaf", "$!"))).with_code(0);
    let (deaf, docile) = (host.told("deaf"), host.told("docile"));
    let waiting = waiter.prepare();
    host.until_queued(&[2]);
    let second = host.job(1).attempt();
    let takes_over = second.prepare();
    eventually("the first try is being ended", || !docile.lives());
    assert!(deaf.lives(), "its ending is not over");
    first.cleanup();
    takes_over.end().with_code(0);
    assert_eq!((host.holders(), host.queue()), (vec![1], vec![2]));
    second.finish();
    waiting.end().with_code(0);
    waiter.finish();
    host.is_clean_soon();
}

fn a_keeper_told_to_end_between_the_stages_gives_the_lock_back_and_no_stage_runs(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends("true").with_code(0);
    job.keeper().signal(Signal::TERM);
    within(Duration::from_secs(1), "the lock is free", || host.holders().is_empty());
    let late = job.script_ends("echo never").with_code(2);
    assert!(!late.text().contains("never\n"), "{}", late.text());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn the_same_job_from_another_host_queues_like_anyone() {
    let table = Store::table();
    let (here, there) = (Host::new(&table, ""), Host::new(&table, ""));
    let (first, second) = (here.job(1).prepared(), there.job(1).attempt());
    let waiting = second.prepare();
    here.until_queued(&[1]);
    assert_eq!(first.script_ends("echo run").with_code(0).text(), "run\n");
    first.finish();
    waiting.end().with_code(0);
    second.finish();
    here.is_clean_soon();
    there.nothing_is_left();
}

/// Rules that give each job two locks.
const TWO: &str =
    "locks:\n  - name: [\"{CI_SERVER_HOST}/{CI_PROJECT_PATH}\", \"{CI_SERVER_HOST}/{CI_PROJECT_PATH}/zz\"]";

#[test]
fn a_job_with_two_locks_that_waits_for_the_second_gives_the_first_back_when_canceled() {
    let host = Host::local(TWO);
    let second = "gitlab.example.com/shop/web/zz";
    let held = |name: &str| host.status_of(name)["holders"].as_array().unwrap().len();
    let holder = host.job(1).variable("PIPELINE_LOCK", second).prepared();
    let job = host.job(2).attempt();
    let waiting = job.prepare();
    waiting.says(&format!("lock {second} is held by"));
    assert_eq!(host.holders(), [2], "the first lock is held meanwhile");
    waiting.term();
    waiting.end().with_code(2);
    assert_eq!((host.holders(), held(second)), (vec![], 1));
    job.finish();
    let both = host.job(3).attempt();
    let waiting = both.prepare();
    waiting.says(&format!("lock {second} is held by"));
    holder.finish();
    waiting.end().with_code(0);
    let seen = both.script_ends("echo $PIPELINE_LOCK_NAME; echo $PIPELINE_LOCK_FENCE").with_code(0).text();
    assert!(seen.starts_with(&format!("gitlab.example.com/shop/web,{second}\n")), "{seen}");
    let keeper = both.keeper();
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    both.finish();
    eventually("both are free", || held(second) == 0);
    host.is_clean_soon();
}
