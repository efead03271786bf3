//! `unlock`: somebody else's hold is ended.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    caller::{past, start},
    harness::{Host, LOCK, Store, eventually},
    terminal::Terminal,
};

fn count(host: &Host, list: &str) -> usize {
    host.status_of(LOCK)[list].as_array().unwrap().len()
}

mod on_both_stores {
    use super::*;

    fn a_hold_of_acquire_is_removed_at_once_and_the_next_has_the_lock(host: &Host) {
        host.run(&["unlock", LOCK]).with_code(0).with_text(&[&format!("lock {LOCK} is free")]);
        host.run(&["acquire", "--name", LOCK, "--disable-ttl"]).with_code(0);
        let waiting = start(host, &["acquire", "--name", LOCK]);
        eventually("it waits", || count(host, "queue") == 1);
        let ended = host.run(&["unlock", LOCK]).with_code(2);
        ended.with_text(&["held by job acquire", "by runner", "there is nobody to ask: give --yes to end"]);
        assert_eq!(count(host, "holders"), 1, "who does not say --yes changes nothing");
        host.run(&["unlock", LOCK, "--yes"]).with_code(0).with_text(&["is removed", "goes on to"]);
        waiting.end().with_code(0);
        assert_eq!(past(host), [("acquire".to_owned(), "forced".to_owned())]);
        host.run(&["release", "--name", LOCK]).with_code(0);
    }

    fn a_running_job_is_ended_before_its_lock_goes_on(host: &Host) {
        let job = host.job(1).prepared();
        let run = job.run("build_script", &format!("{}sleep 600", host.tells("ready", "$$")));
        let shell = host.told("ready");
        host.run(&["unlock", LOCK, "--yes"]).with_code(2).with_text(&["deploy-1 #1", "--force"]);
        host.run(&["unlock", LOCK]).with_code(2).with_text(&["give --yes --force to end"]);
        assert!(shell.lives());
        host.run(&["unlock", LOCK, "--yes", "--force"]).with_code(0).with_text(&[
            "is asked to end",
            "has given the lock back",
            "is free",
        ]);
        assert!(!shell.lives(), "the lock is free before its job has ended");
        run.end().with_code(2).with_text(&["was revoked by runner on"]);
        job.finish();
        assert_eq!(past(host), [("deploy-1".to_owned(), "revoked".to_owned())]);
        host.is_clean_soon();
    }

    fn what_the_dead_hold_is_removed_at_once(host: &Host) {
        let job = host.job(1).prepared();
        host.keepers()[0].signal(Signal::KILL);
        eventually("the keeper is dead", || host.keepers().is_empty());
        assert_eq!(count(host, "holders"), 1);
        let since = Instant::now();
        let ended = host.run(&["unlock", LOCK, "--yes", "--force"]).with_code(0);
        ended.with_text(&["it is dead or silent", "is free"]);
        assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
        assert_eq!(past(host), [("deploy-1".to_owned(), "evicted".to_owned())]);
        job.finish();
        host.is_clean_soon();
    }

    fn one_hold_is_chosen_by_its_job_or_its_token(host: &Host) {
        let job = host.job(1).prepared();
        let token = job.token();
        for other in ["2", "1x", "00000000-0000-0000-0000-000000000000"] {
            let unlock = ["unlock", LOCK, "--yes", "--force", "--holder", other];
            host.run(&unlock).with_code(1).with_text(&[other, "deploy-1 #1"]);
        }
        assert_eq!(host.holders(), [1]);
        for holder in ["1", &token] {
            host.run(&["unlock", LOCK, "--yes", "--holder", holder]).with_code(2).with_text(&["--force"]);
        }
        host.run(&["unlock", LOCK, "--yes", "--force", "--holder", &token]).with_code(0);
        job.finish();
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
        a_hold_of_acquire_is_removed_at_once_and_the_next_has_the_lock
        a_running_job_is_ended_before_its_lock_goes_on
        what_the_dead_hold_is_removed_at_once
        one_hold_is_chosen_by_its_job_or_its_token
    }
}

#[test]
fn a_silent_holder_of_another_host_is_removed_after_its_lease_and_not_before() {
    let table = Store::table();
    let (there, here) = (Host::new(&table, ""), Host::new(&table, ""));
    let job = there.job(1).prepared();
    there.keepers()[0].signal(Signal::KILL);
    let dead = Instant::now();
    let unlocking = start(&here, &["unlock", LOCK, "--yes", "--force"]);
    unlocking.says("is asked to end");
    unlocking.end().with_code(0).with_text(&["it is dead or silent", "is free"]);
    let took = dead.elapsed();
    // The lease of 9 s and 5 %, and a second, from the last renewal that was seen.
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(25), "it took {took:?}");
    job.finish();
}

#[test]
fn who_does_not_wait_hears_that_the_job_takes_its_time() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let script = format!("trap '' TERM; {}sleep 600", host.tells("ready", "$$"));
    let run = job.run("build_script", &script);
    host.told("ready");
    let unlock = ["unlock", LOCK, "--yes", "--force", "--wait", "0"];
    host.run(&unlock).with_code(1).with_text(&["still holds it", "again"]);
    host.run(&unlock[..4]).with_code(0).with_text(&["is free"]);
    run.end().with_code(2);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn at_a_terminal_it_asks_and_only_a_yes_counts() {
    let host = Host::local("");
    host.run(&["acquire", "--name", LOCK]).with_code(0);
    for answer in ["n\n", "\n", "what\n"] {
        let mut terminal = Terminal::start(&host, &["unlock", LOCK]);
        terminal.shows("End the hold of job acquire, by runner on ");
        terminal.shows(&format!(" and free lock {LOCK}? [y/N]"));
        terminal.types(answer);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(1), "{shown}");
        assert_eq!(count(&host, "holders"), 1);
    }
    let mut terminal = Terminal::start(&host, &["unlock", LOCK]);
    terminal.shows("[y/N]");
    terminal.types("y\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(count(&host, "holders"), 0);
}
