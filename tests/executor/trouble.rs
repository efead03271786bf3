//! The store does not answer, or the keeper does not get to run: who can't prove its hold ends its job in time.

use std::{
    thread,
    time::{Duration, Instant},
};

use pipeline_lock::{host::clock::BootTime, keeper::JobFolder};
use rustix::process::Signal;

use crate::harness::{
    Attempt, Host, LOCK, Process, Proxy, Stage, Store, endpoint, eventually, found, within,
};

/// The lease of these hosts.
const LEASE: Duration = Duration::from_secs(9);

/// Two hosts on one table: the first one reaches it by a way that can be cut.
fn two_hosts(more: &str) -> (Proxy, Host, Host) {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let first = Host::through(&table, &proxy.url, more);
    let second = Host::new(&table, more);
    (proxy, first, second)
}

/// A script with children that don't heed TERM, which never ends.
fn runs_for_ever(host: &Host, job: &Attempt) -> (Stage, Vec<Process>) {
    let deaf = "bash -c 'trap \"\" TERM; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    let lines = format!(
        "setsid {deaf}\n{}sleep 600 &\n{}while true; do sleep 1; done",
        host.tells("deaf", "$!"),
        host.tells("below", "$!")
    );
    let run = job.run("build_script", &lines);
    (run, vec![host.told("deaf"), host.told("below")])
}

/// The other host's job gets the lock, and at that moment none of `processes` lives.
#[track_caller]
fn next_begins_when_all_are_dead(host: &Host, next: Stage, processes: &[Process]) {
    eventually("the next job has the lock", || host.holders() == [2]);
    for process in processes {
        assert!(!process.lives(), "{process:?} lives beside the next holder");
    }
    next.end().with_code(0).with_text(&["lease ran out"]);
}

/// The store is cut off by `cut` while a job runs.
fn a_job_that_is_cut_off_is_ended_within_its_lease(cut: impl Fn(&Proxy)) {
    let (proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let (run, processes) = runs_for_ever(&first, &job);
    let waiting = next.prepare();
    second.until_queued(&[2]);
    cut(&proxy);
    let since = Instant::now();
    run.end().with_code(2).with_text(&["was lost", "could not be renewed", "the job is ended"]);
    assert!(since.elapsed() < LEASE, "it took {:?}", since.elapsed());
    next_begins_when_all_are_dead(&second, waiting, &processes);
    let late = job.script_ends("echo never").with_code(2);
    assert!(!late.text().contains("never\n"), "{}", late.text());
    proxy.mend();
    job.finish();
    assert_eq!(second.holders(), [2], "who was cut off takes nothing from the next holder");
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_job_whose_store_is_silent_is_ended_within_its_lease() {
    a_job_that_is_cut_off_is_ended_within_its_lease(Proxy::silence);
}

#[test]
fn a_job_whose_store_is_gone_is_ended_within_its_lease() {
    a_job_that_is_cut_off_is_ended_within_its_lease(Proxy::cut);
}

#[test]
fn what_nobody_but_the_keeper_watches_over_is_dead_a_second_before_the_lease_ends() {
    let (proxy, first, second) = two_hosts("");
    let job = first.job(1).prepared();
    let deaf = "setsid bash -c 'trap \"\" TERM; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    job.script_ends(&format!("{deaf}\n{}", first.tells("deaf", "$!"))).with_code(0);
    let left = first.told("deaf");
    let is_sentinel = |process: &Process| process.args().get(1).is_some_and(|word| word == "sentinel");
    let sentinel = found("the sentinel", || first.processes().into_iter().find(is_sentinel));
    sentinel.signal(Signal::KILL);
    let folder = JobFolder::of(&first.path().join("state"), job.token().parse().unwrap());
    let deadline = folder.open_deadline().unwrap();
    proxy.cut();
    eventually("it is ended", || !left.lives());
    let (now, lease_ends) = (BootTime::now(), BootTime::from_boot(deadline.get().unwrap().0));
    let early = lease_ends.since(now);
    assert!(early > Duration::from_millis(500), "only {early:?} before the end of the lease");
    proxy.mend();
    job.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn an_outage_shorter_than_the_lease_harms_nobody() {
    let (proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let run = job.run("build_script", &format!("{}echo finished", first.gate("go")));
    first.until_reached("go");
    let waiting = next.prepare();
    second.until_queued(&[2]);
    let beat = |host: &Host| host.status_of(LOCK)["holders"][0]["since"].clone();
    let before = beat(&second);
    for cut in [Proxy::silence, Proxy::cut] {
        cut(&proxy);
        thread::sleep(Duration::from_secs(3));
        proxy.mend();
        // Long enough for a renewal, so that the next outage begins with nearly a whole lease.
        thread::sleep(Duration::from_secs(2));
        assert_eq!(second.holders(), [1]);
    }
    assert_eq!(beat(&second), before, "it is the same hold");
    first.open("go");
    let ended = run.end().with_code(0).with_text(&[
        "finished",
        "can't be renewed now",
        "is ended in",
        "is renewed again",
    ]);
    assert!(!ended.text().contains("lost"), "{}", ended.text());
    job.finish();
    waiting.end().with_code(0);
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_job_may_go_on_without_its_lock_where_the_file_says_so() {
    let (proxy, first, second) = two_hosts("on_lost: continue");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let run = job.run("build_script", &format!("{}echo finished", first.gate("go")));
    first.until_reached("go");
    let waiting = next.prepare();
    second.until_queued(&[2]);
    proxy.cut();
    waiting.end().with_code(0).with_text(&["lease ran out"]);
    run.says("GOES ON WITHOUT IT");
    proxy.mend();
    first.open("go");
    run.end().with_code(0).with_text(&["finished", "can't be renewed now"]);
    job.script_ends("echo after").with_code(0).with_text(&["after\n"]);
    job.finish();
    assert_eq!(second.holders(), [2], "its end takes nothing from the next holder");
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_waiter_whose_store_is_gone_for_a_while_keeps_its_place() {
    let (proxy, first, second) = two_hosts("");
    let (holder, waiter) = (second.job(1).prepared(), first.job(2).attempt());
    let waiting = waiter.prepare();
    second.until_queued(&[2]);
    proxy.cut();
    waiting.says("the store can't be used now, trying on");
    proxy.mend();
    waiting.says("the store answers again");
    assert_eq!(second.queue(), [2]);
    holder.finish();
    waiting.end().with_code(0);
    waiter.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_waiter_is_canceled_while_its_store_is_gone() {
    let (proxy, first, second) = two_hosts("");
    let (holder, waiter) = (second.job(1).prepared(), first.job(2).attempt());
    let waiting = waiter.prepare();
    second.until_queued(&[2]);
    // It has had every answer: what is not answered is looked for after the job's end.
    waiting.says("place 1 of 1");
    proxy.cut();
    waiting.term();
    // The place can be given up only when the store answers: the keeper goes on trying.
    eventually("the keeper tries to leave", || first.keepers().len() == 1);
    proxy.mend();
    waiting.end().with_code(2);
    eventually("the queue is left", || second.queue().is_empty());
    waiter.finish();
    holder.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_cleanup_that_cannot_reach_the_store_says_so_and_the_lock_ends_with_its_lease() {
    let (proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", first.tells("left", "$!"))).with_code(0);
    let left = first.told("left");
    let waiting = next.prepare();
    second.until_queued(&[2]);
    proxy.cut();
    let since = Instant::now();
    let cleanup = job.cleanup().with_code(2).with_text(&[LOCK, "goes on trying"]);
    assert!(since.elapsed() < LEASE, "it took {:?}", since.elapsed());
    assert!(!left.lives(), "{}", cleanup.error_text());
    proxy.mend();
    first.nothing_is_left_within(Duration::from_secs(5));
    waiting.end().with_code(0);
    next.finish();
    second.is_clean_soon();
}

#[test]
fn a_cleanup_that_never_reaches_the_store_leaves_the_lock_to_its_lease() {
    let (proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let waiting = next.prepare();
    second.until_queued(&[2]);
    proxy.cut();
    job.cleanup().with_code(2).with_text(&[LOCK, "goes on trying"]);
    waiting.end().with_code(0).with_text(&["lease ran out"]);
    proxy.mend();
    first.nothing_is_left_within(Duration::from_secs(5));
    assert_eq!(second.holders(), [2], "the late release takes nothing from the next holder");
    next.finish();
    second.is_clean_soon();
}

#[test]
fn a_dead_keepers_lock_that_cleanup_could_not_give_back_is_given_back_by_the_next_one() {
    let (proxy, first, second) = two_hosts("lease: 60s");
    let job = first.job(1).prepared();
    let keeper = job.keeper();
    keeper.signal(Signal::KILL);
    eventually("it is dead", || !keeper.lives());
    proxy.cut();
    job.cleanup().with_code(2);
    proxy.mend();
    job.finish_but_the_folder().with_text(&[LOCK, "is released"]);
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_store_that_was_never_reached_fails_the_job_in_words() {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let host = Host::through(&table, &proxy.url, "");
    let job = host.job(1).attempt();
    proxy.cut();
    let since = Instant::now();
    job.prepare().end().with_code(2).with_text(&[LOCK, "table stages-", &proxy.url]);
    assert!(since.elapsed() < Duration::from_secs(30), "it took {:?}", since.elapsed());
    proxy.mend();
    job.finish();
    // A place kept for a retry, then a lease in which an unanswered write is looked for.
    host.is_clean_within(Duration::from_secs(18) + LEASE);
}

#[test]
fn a_keeper_that_is_stopped_past_its_lease_loses_job_and_lock_in_this_order() {
    let (_proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let (run, processes) = runs_for_ever(&first, &job);
    let waiting = next.prepare();
    second.until_queued(&[2]);
    let keeper = job.keeper();
    let since = Instant::now();
    keeper.signal(Signal::STOP);
    run.end().with_code(2).with_text(&["could not be proven"]);
    assert!(since.elapsed() < LEASE, "it took {:?}", since.elapsed());
    next_begins_when_all_are_dead(&second, waiting, &processes);
    keeper.signal(Signal::CONT);
    job.script_ends("echo never").with_code(2);
    job.finish();
    assert_eq!(second.holders(), [2], "the woken keeper takes nothing from the next holder");
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_keeper_that_is_stopped_between_stages_loses_what_the_script_left_before_the_lock() {
    let (_proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let deaf = "setsid bash -c 'trap \"\" TERM; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    job.script_ends(&format!("{deaf}\n{}", first.tells("deaf", "$!"))).with_code(0);
    let left = first.told("deaf");
    let waiting = next.prepare();
    second.until_queued(&[2]);
    let keeper = job.keeper();
    keeper.signal(Signal::STOP);
    next_begins_when_all_are_dead(&second, waiting, &[left]);
    keeper.signal(Signal::CONT);
    job.script_ends("echo never").with_code(2);
    job.finish();
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_keeper_that_was_stopped_past_its_lease_begins_no_script_that_came_meanwhile() {
    let (_proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let waiting = next.prepare();
    second.until_queued(&[2]);
    let keeper = job.keeper();
    keeper.signal(Signal::STOP);
    eventually("the next job has the lock", || second.holders() == [2]);
    waiting.end().with_code(0);
    job.script_ends(&first.tells("ran", "$$")).with_code(2);
    // What the stage has asked for is there when the keeper goes on, before it has heard that the stage is gone.
    keeper.signal(Signal::CONT);
    eventually("the keeper sees what has become of it", || job.keeper_log().contains("a lock was lost"));
    assert!(!job.keeper_log().contains("a stage runs"), "{}", job.keeper_log());
    job.finish();
    assert!(!first.path().join("ran").exists());
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_keeper_that_is_killed_between_stages_leaves_nothing_of_its_job() {
    let (_proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    job.script_ends(&format!("setsid sleep 600 >/dev/null & {}", first.tells("left", "$!"))).with_code(0);
    let left = first.told("left");
    let waiting = next.prepare();
    second.until_queued(&[2]);
    job.keeper().signal(Signal::KILL);
    within(Duration::from_secs(3), "the lock goes on long before the lease", || second.holders() == [2]);
    assert!(!left.lives());
    waiting.end().with_code(0);
    job.finish();
    next.finish();
    second.is_clean_soon();
    first.nothing_is_left();
}

#[test]
fn a_whole_host_that_dies_frees_the_lock_with_its_lease() {
    let (_proxy, first, second) = two_hosts("");
    let (job, next) = (first.job(1).prepared(), second.job(2).attempt());
    let (run, _) = runs_for_ever(&first, &job);
    let waiting = next.prepare();
    second.until_queued(&[2]);
    let since = Instant::now();
    drop(first);
    waiting.end().with_code(0).with_text(&["lease ran out"]);
    let took = since.elapsed();
    // The lease with its allowance for clocks, a look more, and the renewal that was under way.
    assert!(took > LEASE && took < LEASE + Duration::from_secs(5), "it took {took:?}");
    drop(run);
    next.finish();
    within(Duration::from_secs(1), "the lock is free", || second.holders().is_empty());
    second.is_clean_soon();
}

#[test]
fn a_presence_file_that_was_removed_is_made_anew() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let folder = host.path().join("locks.db.d");
    std::fs::remove_dir_all(&folder).unwrap();
    // The keeper looks for it every ten seconds; a waiter takes it for dead after a minute.
    eventually("the file is there again", || folder.join("holds").join(job.token()).exists());
    let next = host.job(2).attempt();
    let waiting = next.prepare();
    host.until_queued(&[2]);
    job.keeper().signal(Signal::KILL);
    waiting.end().with_code(0).with_text(&["processes on this host are dead"]);
    job.finish();
    next.finish();
    host.is_clean_soon();
}

/// Where a job uses up all threads that the host has to give, who has one ready needs no new one: a keeper that had to
/// start one, to look up a name or to lock a file, would die of it and take its job with it.
#[test]
fn a_keeper_has_a_thread_ready_for_what_blocks_however_long_it_has_had_no_use_for_it() {
    let host = Host::dynamodb("");
    let job = host.job(1).prepared();
    let tasks = format!("/proc/{}/task", job.keeper().pid);
    let threads = || std::fs::read_dir(&tasks).unwrap().count();
    // Its own, one that listens, one for prepare, which has gone, and the one in question.
    eventually("prepare's connection is over", || threads() <= 3);
    // It looks for this file every ten seconds: longer than such a thread lives by itself.
    let presence = host.path().join("state/holds").join(job.token());
    for _ in 0..2 {
        std::fs::remove_file(&presence).unwrap();
        eventually("the keeper has looked", || presence.exists());
    }
    assert_eq!(threads(), 3);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn what_a_start_that_was_cut_off_left_behind_goes_with_cleanup() {
    let host = Host::local("");
    let job = host.job(1).attempt();
    // As prepare makes them before its keeper runs.
    let (folder, owners) =
        (host.path().join("state/jobs").join(job.token()), host.path().join("state/owners"));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::create_dir_all(&owners).unwrap();
    std::fs::write(owners.join("job%3agitlab.example.com%2f1"), job.token()).unwrap();
    job.finish();
    host.nothing_is_left();
}

#[test]
fn a_keeper_gets_new_credentials_from_the_program_that_a_profile_names() {
    let table = Store::table();
    let host = Host::new(&table, "");
    // They are good for a moment only, so that each request asks for new ones.
    host.write(
        "credentials",
        "#!/bin/sh\nend=$(date -u -d '+5 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo '{\"Version\":1,\"AccessKeyId\":\"test\",\"SecretAccessKey\":\"test\",\"Expiration\":\"'$end'\"}'\n",
    );
    let program = host.path().join("credentials").display().to_string();
    host.write("aws", &format!("[profile named]\ncredential_process = sh {program}\n"));
    let file = host.path().join("config.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("region:", "profile: named, region:");
    std::fs::write(&file, text).unwrap();
    let job = host.job(1).attempt();
    let mut prepare = job.command(&["prepare"]);
    prepare.env("AWS_CONFIG_FILE", host.path().join("aws"));
    Stage::start(prepare, false).end().with_code(0);
    // Its own processes end meanwhile, one after the other.
    job.script_ends("for i in $(seq 150); do (setsid sleep 0.05 &); sleep 0.1; done").with_code(0);
    let log = job.keeper_log();
    assert!(!log.contains("renewal failed"), "{log}");
    job.finish();
    host.is_clean_soon();
}
