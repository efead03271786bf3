//! Whoever is killed, somebody is left to end the job and free its lock, in that order.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    harness::{Attempt, Ended, Host, LOCK, Process, Stage, eventually, within},
    on_both_stores,
};

/// Two ways to be the job's process: below its shell, and away from it.
fn for_ever(host: &Host) -> String {
    format!(
        "setsid sleep 600 </dev/null >/dev/null 2>&1 &\n{}sleep 600 &\n{}wait\n",
        host.tells("away", "$!"),
        host.tells("below", "$!")
    )
}

/// Starts a script that never ends, and tells its processes.
fn runs_for_ever(host: &Host, job: &Attempt) -> (Stage, [Process; 2]) {
    let run = job.run("build_script", &for_ever(host));
    let processes = [host.told("away"), host.told("below")];
    (run, processes)
}

#[track_caller]
fn all_dead(processes: &[Process]) {
    for process in processes {
        assert!(!process.lives(), "{process:?}");
    }
}

on_both_stores! {
    a_keeper_killed_while_the_job_runs_ends_the_job_and_frees_the_lock
    a_keeper_killed_between_the_stages_is_buried_by_the_next_stage
    a_keeper_killed_between_the_stages_is_buried_by_cleanup
    a_keeper_killed_between_the_stages_is_buried_by_a_waiter
    a_killed_keeper_whose_presence_file_was_removed_is_buried_like_any_other
    a_keeper_killed_while_it_waits_costs_its_place_alone
    a_dead_waiter_that_those_behind_have_buried_is_cleaned_up_at_once
    a_killed_run_stage_ends_the_job_and_the_lock_stays_until_cleanup
    a_killed_cleanup_is_done_by_the_next_one
    a_keeper_that_is_told_to_end_frees_the_lock_when_the_job_is_over
    a_keeper_that_is_told_to_end_frees_the_lock_when_its_run_stage_is_killed
    a_keeper_that_is_told_to_end_while_it_waits_leaves_the_queue
    all_killed_at_once_are_buried_by_a_waiter
    what_everybody_has_left_is_buried_by_the_hosts_next_job_under_any_lock
    what_everybody_has_left_is_buried_also_where_another_has_it_in_hand_first
    what_a_killed_keeper_of_exec_has_left_is_buried_also_where_another_has_it_in_hand_first
    a_stopped_keeper_is_no_obstacle_for_cleanup
    a_folder_that_the_runner_removed_without_cleanup_ends_the_job
    without_a_cgroup_a_process_with_an_environment_of_its_own_ends_with_a_killed_keeper
    without_a_cgroup_what_an_earlier_stage_left_behind_ends_with_a_killed_keeper
}

/// A command that nothing but its parent or a record tells to be the job's, and that ignores TERM.
pub fn hidden(host: &Host) -> String {
    let told = host.tells("hidden", "$$");
    format!(
        "env -i setsid bash -c 'trap \"\" TERM\n{told}for i in $(seq 600); do sleep 0.05; done' >/dev/null"
    )
}

fn without_a_cgroup_a_process_with_an_environment_of_its_own_ends_with_a_killed_keeper(host: &Host) {
    let (dead, next) = (host.job(1).attempt(), host.job(2).attempt());
    dead.prepare_without_cgroup();
    let run = dead.run("build_script", &format!("{}\ntrue", hidden(host)));
    let (hidden, waiting) = (host.told("hidden"), next.prepare());
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    waiting.end().with_code(0);
    assert!(!hidden.lives(), "it ends before the lock goes on");
    run.end().with_code(2);
    dead.finish();
    next.finish();
    host.is_clean_soon();
}

fn without_a_cgroup_what_an_earlier_stage_left_behind_ends_with_a_killed_keeper(host: &Host) {
    let (dead, next) = (host.job(1).attempt(), host.job(2).attempt());
    dead.prepare_without_cgroup();
    dead.script_ends(&format!("{} &", hidden(host))).with_code(0);
    let (hidden, waiting) = (host.told("hidden"), next.prepare());
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    waiting.end().with_code(0);
    assert!(!hidden.lives(), "it ends before the lock goes on");
    dead.finish();
    next.finish();
    host.is_clean_soon();
}

fn a_keeper_killed_while_the_job_runs_ends_the_job_and_frees_the_lock(host: &Host) {
    let job = host.job(1).prepared();
    let (run, processes) = runs_for_ever(host, &job);
    job.keeper().signal(Signal::KILL);
    run.end().with_code(2).with_text(&["keeper was killed", "now its lock is given back"]);
    all_dead(&processes);
    within(Duration::from_secs(1), "the lock is free", || host.holders().is_empty());
    job.script_ends("echo never").with_code(2).with_text(&["keeper"]);
    job.finish();
    host.is_clean_soon();
}

fn a_keeper_killed_between_the_stages_is_buried_by_the_next_stage(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let (left, keeper) = (host.told("left"), job.keeper());
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    let late = job.script_ends("echo never").with_code(2).with_text(&["keeper"]);
    assert!(!late.text().contains("never\n"), "{}", late.text());
    job.finish();
    assert!(!left.lives());
    host.is_clean_soon();
}

fn a_keeper_killed_between_the_stages_is_buried_by_cleanup(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let left = host.told("left");
    job.keeper().signal(Signal::KILL);
    let said = job.finish();
    // By cleanup; under a lease the sentinel may have been quicker, and cleanup says so.
    if host.site.local || !said.text().contains("it was given back before") {
        said.with_text(&["gitlab.example.com/shop/web is released"]);
    }
    assert!(!left.lives());
    host.is_clean_soon();
}

fn a_keeper_killed_between_the_stages_is_buried_by_a_waiter(host: &Host) {
    let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
    dead.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let left = host.told("left");
    let waiting = next.prepare();
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    within(Duration::from_secs(2), "the waiter buries it", || host.holders() == [2]);
    assert!(!left.lives(), "the survivors end before the lock goes on");
    // By the waiter; under a lease the sentinel may have been quicker.
    let ended = waiting.end().with_code(0);
    if host.site.local {
        ended.with_text(&["processes on this host are dead"]);
    }
    dead.finish();
    assert_eq!(host.holders(), [2], "a late cleanup takes nothing from the next holder");
    next.finish();
    host.is_clean_soon();
}

fn a_killed_keeper_whose_presence_file_was_removed_is_buried_like_any_other(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let (left, keeper) = (host.told("left"), job.keeper());
    std::fs::remove_file(host.holds().join(job.token())).unwrap();
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    job.finish();
    assert!(!left.lives(), "the lock went before it");
    host.is_clean_soon();
}

fn a_keeper_killed_while_it_waits_costs_its_place_alone(host: &Host) {
    let (holder, second, third) = (host.job(1).prepared(), host.job(2).attempt(), host.job(3).attempt());
    let died = second.prepare();
    host.until_queued(&[2]);
    let behind = third.prepare();
    host.until_queued(&[2, 3]);
    second.keeper().signal(Signal::KILL);
    died.end().with_code(2).with_text(&["keeper has died"]);
    second.finish();
    let again = host.job(2).attempt();
    let retried = again.prepare();
    eventually("the job waits again", || host.queue().contains(&2));
    holder.finish();
    let (first, last) = if host.queue() == [2, 3] {
        ((again, retried), (third, behind))
    } else {
        ((third, behind), (again, retried))
    };
    for (job, prepare) in [first, last] {
        prepare.end().with_code(0);
        job.finish();
    }
    host.is_clean_soon();
}

fn a_dead_waiter_that_those_behind_have_buried_is_cleaned_up_at_once(host: &Host) {
    let (holder, dead, behind) = (host.job(1).prepared(), host.job(2).attempt(), host.job(3).attempt());
    let died = dead.prepare();
    host.until_queued(&[2]);
    let waiting = behind.prepare();
    host.until_queued(&[2, 3]);
    dead.keeper().signal(Signal::KILL);
    died.end().with_code(2);
    eventually("the one behind has buried it", || behind.keeper_log().contains("buried"));
    assert_eq!(host.queue(), [2, 3], "its place stays for a retry");
    let since = Instant::now();
    dead.finish();
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    assert_eq!(host.queue(), [3]);
    holder.finish();
    waiting.end().with_code(0);
    behind.finish();
    host.is_clean_soon();
}

fn a_killed_run_stage_ends_the_job_and_the_lock_stays_until_cleanup(host: &Host) {
    let job = host.job(1).prepared();
    let (run, processes) = runs_for_ever(host, &job);
    run.kill();
    eventually("the script is ended", || processes.iter().all(|process| !process.lives()));
    assert_eq!(host.holders(), [1]);
    job.script_ends("echo never").with_code(2).with_text(&["run stage was killed"]);
    job.finish();
    host.is_clean_soon();
}

fn a_killed_cleanup_is_done_by_the_next_one(host: &Host) {
    let job = host.job(1).prepared();
    let deaf = "bash -c 'trap \"\" TERM; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    let docile = format!("setsid sleep 600 >/dev/null & {}", host.tells("docile", "$!"));
    job.script_ends(&format!("{deaf} {}{docile}", host.tells("deaf", "$!"))).with_code(0);
    let (deaf, docile) = (host.told("deaf"), host.told("docile"));
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    eventually("the ending has begun", || !docile.lives());
    assert!(deaf.lives(), "the ending is not over");
    cleanup.kill();
    assert_eq!(cleanup.end().signal, Some(9));
    job.finish();
    assert!(!deaf.lives());
    host.is_clean_soon();
}

fn a_keeper_that_is_told_to_end_frees_the_lock_when_the_job_is_over(host: &Host) {
    let (job, next) = (host.job(1).prepared(), host.job(2).attempt());
    let run = job.run("build_script", &format!("{}echo finished", host.gate("go")));
    host.until_reached("go");
    let waiting = next.prepare();
    host.until_queued(&[2]);
    let keeper = job.keeper();
    keeper.signal(Signal::TERM);
    keeper.signal(Signal::INT);
    // What it does with the signals shows when it refuses what comes next.
    eventually("the keeper takes no more stages", || {
        let refused: Ended = job.run("second", "echo never").end();
        refused.code == Some(2) && refused.text().contains("told to end")
    });
    assert!(keeper.lives());
    assert_eq!(host.holders(), [1]);
    host.open("go");
    run.end().with_code(0).with_text(&["finished"]);
    within(Duration::from_secs(1), "the next job has the lock", || host.holders() == [2]);
    waiting.end().with_code(0);
    job.finish();
    next.finish();
    host.is_clean_soon();
}

fn a_keeper_that_is_told_to_end_frees_the_lock_when_its_run_stage_is_killed(host: &Host) {
    let job = host.job(1).prepared();
    let (run, processes) = runs_for_ever(host, &job);
    job.keeper().signal(Signal::TERM);
    eventually("the keeper is told", || job.keeper_log().contains("told to end"));
    assert_eq!(host.holders(), [1]);
    run.kill();
    within(Duration::from_secs(4), "the lock is free", || host.holders().is_empty());
    all_dead(&processes);
    job.finish();
    host.is_clean_soon();
}

fn a_keeper_that_is_told_to_end_while_it_waits_leaves_the_queue(host: &Host) {
    let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = waiter.prepare();
    host.until_queued(&[2]);
    waiter.keeper().signal(Signal::TERM);
    waiting.end().with_code(2);
    assert_eq!(host.queue(), [0; 0]);
    waiter.finish();
    holder.finish();
    host.is_clean_soon();
}

fn all_killed_at_once_are_buried_by_a_waiter(host: &Host) {
    let (dead, next) = (host.job(1).prepared(), host.job(2).attempt());
    let (run, processes) = runs_for_ever(host, &dead);
    let waiting = next.prepare();
    host.until_queued(&[2]);
    let (stage, keeper) = (run.process(), dead.keeper());
    // Stopped first, so that neither sees the other's death.
    [stage, keeper].iter().for_each(|process| process.signal(Signal::STOP));
    [stage, keeper].iter().for_each(|process| process.signal(Signal::KILL));
    waiting.end().with_code(0);
    all_dead(&processes);
    assert_eq!(host.holders(), [2]);
    next.finish();
    dead.finish();
    host.is_clean_soon();
}

fn what_everybody_has_left_is_buried_by_the_hosts_next_job_under_any_lock(host: &Host) {
    let dead = host.job(1).prepared();
    let (run, processes) = runs_for_ever(host, &dead);
    let (stage, keeper) = (run.process(), dead.keeper());
    [stage, keeper].iter().for_each(|process| process.signal(Signal::STOP));
    [stage, keeper].iter().for_each(|process| process.signal(Signal::KILL));
    let other = host.job(2).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/other").prepared();
    // Long before the lease of a lock in a table ends, and in a file without anybody who wants the lock.
    within(Duration::from_secs(5), "nothing of it lives", || {
        !processes.iter().any(|process| process.lives())
    });
    within(Duration::from_secs(5), "its lock is free", || host.holders().is_empty());
    other.finish();
    host.is_clean_soon();
    host.nothing_is_left();
}

fn what_everybody_has_left_is_buried_also_where_another_has_it_in_hand_first(host: &Host) {
    let dead = host.job(1).prepared();
    let keeper = dead.keeper();
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    // A waiter that looks who is ahead of it has this for a moment, and takes no folder away.
    let in_hand = std::fs::File::open(host.holds().join(dead.token())).unwrap();
    in_hand.lock().unwrap();
    let other = host.job(2).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/other").prepared();
    eventually("it is tried", || dead.keeper_log().contains("somebody else buries this job"));
    drop(in_hand);
    within(Duration::from_secs(5), "its lock is free", || host.holders().is_empty());
    other.finish();
    host.is_clean_soon();
    host.nothing_is_left();
}

fn what_a_killed_keeper_of_exec_has_left_is_buried_also_where_another_has_it_in_hand_first(host: &Host) {
    let mut command = host.site.program("config.yaml");
    command.args(["exec", "--name", LOCK, "--", "sleep", "600"]).env("PIPELINE_LOCK_LOG", "info");
    let exec = Stage::start(command, true);
    eventually("it has the lock", || host.holders() == [0]);
    let file = std::fs::read_dir(host.holds()).unwrap().next().unwrap().unwrap().path();
    let in_hand = std::fs::File::open(file).unwrap();
    // It has no chance to be the first.
    exec.process().signal(Signal::STOP);
    host.keepers()[0].signal(Signal::KILL);
    eventually("the keeper is dead", || host.keepers().is_empty());
    in_hand.lock().unwrap();
    exec.process().signal(Signal::CONT);
    exec.says("somebody else buries this job");
    drop(in_hand);
    exec.end().with_text(&["keeper of the lock was killed"]);
    host.is_clean_soon();
}

fn a_stopped_keeper_is_no_obstacle_for_cleanup(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let left = host.told("left");
    job.keeper().signal(Signal::STOP);
    job.finish();
    assert!(!left.lives());
    host.is_clean_soon();
}

fn a_folder_that_the_runner_removed_without_cleanup_ends_the_job(host: &Host) {
    let job = host.job(1).prepared();
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", host.tells("left", "$!"))).with_code(0);
    let left = host.told("left");
    std::fs::remove_dir_all(&job.dir).unwrap();
    // The keeper looks for it every ten seconds.
    within(Duration::from_secs(15), "the job is ended", || !left.lives());
    host.is_clean_soon();
}

#[test]
fn exec_in_a_job_leaves_the_dead_of_the_host_to_those_who_are_no_part_of_it() {
    let host = Host::local("");
    let job = host.job(2).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/other").prepared();
    let dead = host.job(1).prepared();
    let keeper = dead.keeper();
    keeper.signal(Signal::KILL);
    eventually("the keeper is dead", || !keeper.lives());
    let (program, dir) = (env!("CARGO_BIN_EXE_pipeline-lock"), host.path().display());
    job.script_ends(&format!("{program} --config {dir}/config.yaml exec --name third -- true")).with_code(0);
    let folder = host.path().join("state/jobs").join(dead.token());
    let is_untouched = folder.join("keeper.json").exists() && !folder.join("burial").exists();
    assert!(is_untouched, "who buries it would be a process of the job, and end with it");
    job.finish();
    dead.finish();
    host.is_clean_soon();
}

/// Of a script that moves to the cgroup above the job's: as root may, and as the login of another user does.
const MOVES_OUT: &str = "point=$(awk '/ - cgroup2 /{print $5; exit}' /proc/self/mountinfo)\n\
    echo $BASHPID >$(dirname $point$(sed -n s/^0:://p /proc/self/cgroup))/cgroup.procs\n";

#[test]
fn what_has_left_the_cgroup_and_its_environment_ends_with_a_killed_keeper() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    if !job.has_cgroup() {
        eprintln!("NOT RUN: this test needs a host on which a keeper can make a cgroup v2");
        job.finish();
        return;
    }
    job.script_ends(&format!("({MOVES_OUT}exec {}) &", hidden(&host))).with_code(0);
    let hidden = host.told("hidden");
    job.keeper().signal(Signal::KILL);
    job.finish();
    assert!(!hidden.lives(), "the lock went before it");
    host.is_clean_soon();
}

#[test]
fn a_folder_in_which_no_keeper_ever_began_goes_with_the_hosts_next_job() {
    let host = Host::local("");
    host.job(1).prepared().finish();
    let folder = |hours: u64| {
        let path = host.path().join("state/jobs").join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir(&path).unwrap();
        let at = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
        std::fs::File::open(&path).unwrap().set_modified(at).unwrap();
        path
    };
    let (old, young) = (folder(2), folder(0));
    host.job(2).prepared().finish();
    assert!(!old.exists());
    assert!(young.exists(), "its keeper may be just beginning");
    std::fs::remove_dir(young).unwrap();
    host.is_clean_soon();
}
