//! `acquire` and `release` outside of CI: a hold without a process.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    caller::{in_job, start},
    harness::{Ended, Fault, Host, Kind, LOCK, Proxy, Stage, Store, endpoint, eventually, within},
};

fn acquire(host: &Host, more: &[&str]) -> Ended {
    host.run(&[&["acquire", "--name", LOCK][..], more].concat())
}

fn release(host: &Host) -> Ended {
    host.run(&["release", "--name", LOCK]).with_code(0)
}

fn fence(ended: &Ended) -> u64 {
    let text = ended.text();
    let number = text.strip_prefix("PIPELINE_LOCK_FENCE=").unwrap_or_else(|| panic!("{text:?}"));
    number.trim_end().parse().unwrap()
}

fn count(host: &Host, list: &str) -> usize {
    host.status_of(LOCK)[list].as_array().unwrap().len()
}

mod on_both_stores {
    use super::*;

    fn a_lock_is_taken_and_given_back_by_two_commands(host: &Host) {
        let first = acquire(host, &[]).with_code(0).with_text(&["acquired", "ends by itself at"]);
        let held = host.status_of(LOCK);
        assert_eq!(held["holders"][0]["live"], false);
        assert_eq!(held["holders"][0]["fence"], fence(&first));
        host.nothing_is_left();
        release(host).with_text(&["is released"]);
        assert_eq!(count(host, "holders"), 0);
        release(host).with_text(&["nothing to release"]);
        let second = acquire(host, &[]).with_code(0);
        assert!(fence(&second) > fence(&first), "the number only grows");
        release(host);
        host.is_clean_soon();
    }

    fn a_hold_whose_time_is_over_is_taken_by_the_next(host: &Host) {
        acquire(host, &["--ttl", "1"]).with_code(0);
        let since = Instant::now();
        acquire(host, &["--wait", "20s"]).with_code(0).with_text(&["its time was over"]);
        // Two seconds for what clocks may differ.
        assert!(since.elapsed() < Duration::from_secs(10), "it took {:?}", since.elapsed());
        release(host);
        host.is_clean_soon();
    }

    fn force_takes_an_old_hold_of_acquire_at_once(host: &Host) {
        let first = acquire(host, &["--disable-ttl"]).with_code(0);
        acquire(host, &["--wait", "0", "--force-after", "1h"]).with_code(1);
        eventually("the hold is two seconds old", || {
            acquire(host, &["--wait", "0", "--force-after", "2"]).code == Some(0)
        });
        let held = host.status_of(LOCK);
        assert_eq!(held["holders"].as_array().unwrap().len(), 1);
        assert!(held["holders"][0]["fence"].as_u64().unwrap() > fence(&first));
        release(host);
        host.is_clean_soon();
    }

    fn force_asks_a_running_job_to_end(host: &Host) {
        let job = host.job(1).prepared();
        let run = job.run("build_script", &format!("{}sleep 600", host.tells("ready", "$$")));
        let shell = host.told("ready");
        let taking = start(host, &["acquire", "--name", LOCK, "--wait", "40s", "--force-after", "1"]);
        run.end().with_code(2).with_text(&["was revoked by --force-after 1s of runner on "]);
        assert!(!shell.lives());
        taking.end().with_code(0);
        job.finish();
        assert_eq!(count(host, "holders"), 1, "the job's cleanup takes nothing from the next holder");
        release(host);
        host.is_clean_soon();
    }

    macro_rules! tests {
        ($($name:ident)*) => {
            mod local {
                $(#[test] fn $name() { super::$name(&crate::harness::Host::local("")); })*
            }
            mod dynamodb {
                $(#[test] fn $name() { super::$name(&crate::harness::Host::dynamodb("")); })*
            }
        };
    }

    tests! {
        a_lock_is_taken_and_given_back_by_two_commands
        a_hold_whose_time_is_over_is_taken_by_the_next
        force_takes_an_old_hold_of_acquire_at_once
        force_asks_a_running_job_to_end
    }
}

#[test]
fn a_held_lock_is_1_with_its_holder_once_the_wait_is_over() {
    let host = Host::local("");
    acquire(&host, &[]).with_code(0);
    let ended = acquire(&host, &["--wait", "0"]).with_code(1).with_text(&[LOCK, "held by acquire · runner"]);
    assert_eq!(ended.text(), "");
    let since = Instant::now();
    acquire(&host, &["--max-retries", "2", "--retry-interval", "1"])
        .with_code(1)
        .with_text(&["not free within 2 s"]);
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "it took {took:?}");
    acquire(&host, &["--max-retries", "0"]).with_code(1);
    assert_eq!((count(&host, "holders"), count(&host, "queue")), (1, 0));
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_waiting_acquire_gets_the_lock_when_it_is_released() {
    let host = Host::local("");
    acquire(&host, &[]).with_code(0);
    let waiting = start(&host, &["acquire", "--name", LOCK]);
    eventually("it waits", || count(&host, "queue") == 1);
    release(&host);
    within(Duration::from_secs(1), "it has the lock", || {
        count(&host, "queue") == 0 && count(&host, "holders") == 1
    });
    waiting.end().with_code(0).with_text(&["Waiting for lock", "acquired after"]);
    release(&host).with_text(&["is released"]);
    host.is_clean_soon();
}

#[test]
fn a_signal_while_it_waits_leaves_the_queue() {
    let host = Host::local("");
    acquire(&host, &[]).with_code(0);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let waiting = start(&host, &["acquire", "--name", LOCK]);
        eventually("it waits", || count(&host, "queue") == 1);
        waiting.signal(signal);
        waiting.end().with_code(code).with_text(&["queue is left"]);
        assert_eq!(count(&host, "queue"), 0);
    }
    release(&host);
    host.is_clean_soon();
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let host = Host::local("");
    acquire(&host, &[]).with_code(0);
    let waiting = start(&host, &["acquire", "--name", LOCK]);
    eventually("it waits", || count(&host, "queue") == 1);
    waiting.kill();
    drop(waiting.end());
    release(&host);
    // The claim window, after which others pass who does not come.
    acquire(&host, &["--wait", "25s"]).with_code(0);
    release(&host);
}

#[test]
fn release_is_never_somebody_elses() {
    let host = Host::local("");
    acquire(&host, &[]).with_code(0);
    // Another user of the same store: what this user took is in a state folder of their own.
    let text = std::fs::read_to_string(host.path().join("config.yaml")).unwrap();
    let other = format!("state: {}/other", host.path().display());
    host.write("config.yaml", &text.replace(&format!("state: {}/state", host.path().display()), &other));
    release(&host).with_text(&["nothing to release"]);
    assert_eq!(count(&host, "holders"), 1);
    let job = host.job(1);
    let release_in_job = in_job(&host, &job, &["release", "--name", LOCK]);
    Stage::start(release_in_job, false).end().with_code(0).with_text(&["nothing to release"]);
    assert_eq!(count(&host, "holders"), 1);
    host.write("config.yaml", &text);
    release(&host).with_text(&["is released"]);
    host.is_clean_soon();
}

#[test]
fn release_leaves_a_running_jobs_hold() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    release(&host).with_text(&["nothing to release"]);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_late_release_takes_nothing_from_who_came_after() {
    let host = Host::local("");
    acquire(&host, &["--ttl", "1"]).with_code(0);
    let job = host.job(1).attempt();
    job.prepare().end().with_code(0);
    release(&host).with_text(&["nothing to release"]);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn what_excludes_each_other_is_wrong_usage() {
    let host = Host::local("");
    acquire(&host, &["--ttl", "5", "--disable-ttl"]).with_code(2);
    acquire(&host, &["--wait", "5s", "--max-retries", "2"]).with_code(2);
    acquire(&host, &["--ttl", "x"]).with_code(2);
    assert_eq!(count(&host, "holders"), 0);
}

#[test]
fn a_hold_that_release_could_not_find_is_given_back() {
    let host = Host::local("");
    std::fs::create_dir(host.path().join("state")).unwrap();
    host.write("state/acquired", "no folder");
    acquire(&host, &["--disable-ttl"]).with_code(3).with_text(&["can't be written", "state/acquired"]);
    assert_eq!(count(&host, "holders"), 0);
}

#[test]
fn locks_of_one_name_in_two_stores_are_given_back_each() {
    let host = Host::local("");
    let text = std::fs::read_to_string(host.path().join("config.yaml")).unwrap();
    let other = text.replace("locks.db", "other.db");
    for file in [&text, &other] {
        host.write("config.yaml", file);
        acquire(&host, &["--disable-ttl"]).with_code(0);
    }
    for file in [&text, &other] {
        host.write("config.yaml", file);
        release(&host).with_text(&["is released"]);
        release(&host).with_text(&["nothing to release"]);
    }
    host.is_clean_soon();
}

#[test]
fn who_cannot_say_that_there_is_nothing_to_release_ends_well_all_the_same() {
    let host = Host::local("");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = host.command(&["release", "--name", LOCK]);
    assert_eq!(command.env("PIPELINE_LOCK_LOG", "loud").stderr(full).status().unwrap().code(), Some(0));
}

#[test]
fn a_hold_is_to_last_for_some_time() {
    let host = Host::local("");
    for (ttl, why) in [("0", "over at once"), ("99999999999999999", "longer than ten years")] {
        acquire(&host, &["--ttl", ttl]).with_code(2).with_text(&["--ttl", why]);
        host.run(&["reserve", LOCK, "--reason", "move", "--for", ttl])
            .with_code(2)
            .with_text(&["--for", why]);
    }
    host.run(&["status"]).with_code(0).with_text(&["No lock is held or awaited."]);
}

#[test]
fn a_hold_that_may_have_been_taken_is_told_with_the_way_out() {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let host = Host::through(&table, &proxy.url, "");
    proxy.silence();
    let ended = acquire(&host, &["--wait", "0"]).with_code(3);
    ended.with_text(&["no reply", "may have taken effect", &format!("unlock {LOCK}")]);
    proxy.mend();
    // It is seen, and taken back, where the store answers again.
    proxy.once(&[Kind::FirstWrite], Fault::silent_reply());
    let ended = acquire(&host, &["--wait", "0"]).with_code(3);
    assert!(!ended.error_text().contains("unlock"), "{}", ended.error_text());
    assert_eq!(host.status_of(LOCK)["holders"], serde_json::json!([]));
}
