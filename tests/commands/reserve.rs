//! `reserve`: a lock is kept from everyone.

use std::time::Duration;

use crate::{
    caller::{past, start},
    harness::{Fault, Host, Kind, LOCK, Proxy, Store, endpoint, within},
};

fn reserve(host: &Host, reason: &str) {
    host.run(&["reserve", LOCK, "--reason", reason]).with_code(0).with_text(&["is reserved until"]);
}

mod on_both_stores {
    use super::*;

    fn jobs_wait_for_a_reserved_lock_and_show_why(host: &Host) {
        reserve(host, "the database moves");
        let status = host.status_of(LOCK);
        assert_eq!(status["holders"][0]["reserved"], "the database moves");
        host.run(&["acquire", "--name", LOCK, "--wait", "0"])
            .with_code(1)
            .with_text(&["reserved by runner: the database moves"]);
        let job = host.job(1).attempt();
        let waiting = job.prepare();
        waiting.says("is reserved by runner until");
        waiting.says("the database moves");
        host.run(&["status", LOCK])
            .with_code(0)
            .with_text(&["reserved runner  until", ": the database moves"]);
        host.run(&["release", "--name", LOCK])
            .with_code(0)
            .with_text(&["the reservation of lock", "is ended: the database moves"]);
        waiting.end().with_code(0);
        assert_eq!(past(host), [("reserve".to_owned(), "released".to_owned())]);
        job.finish();
        host.is_clean_soon();
    }

    fn who_holds_goes_on_and_nobody_comes_after(host: &Host) {
        let job = host.job(1).prepared();
        let reserved = host.run(&["reserve", LOCK, "--reason", "move", "--for", "1h"]).with_code(0);
        reserved.with_text(&["held by job deploy-1 #1", "which goes on"]);
        job.script_ends("echo fine").with_code(0).with_text(&["fine"]);
        let next = host.job(2).attempt();
        let waiting = next.prepare();
        waiting.says("held by job deploy-1 #1");
        waiting.says("; reserved by runner until");
        job.finish();
        host.until_queued(&[2]);
        let listed = host.run(&["list"]).with_code(0).with_text(&["reserved"]);
        assert_eq!(listed.text().lines().count(), 2, "{}", listed.text());
        host.run(&["release", "--name", LOCK, "--reservation"]).with_code(0);
        waiting.end().with_code(0);
        next.finish();
        host.is_clean_soon();
    }

    fn a_second_reservation_replaces_the_first(host: &Host) {
        reserve(host, "one");
        let second = host.run(&["reserve", LOCK, "--reason", "two"]).with_code(0);
        second.with_text(&["the reservation of runner is replaced: one"]);
        let holders = host.status_of(LOCK)["holders"].clone();
        assert_eq!((holders.as_array().unwrap().len(), &holders[0]["reserved"]), (1, &"two".into()));
        host.run(&["unlock", LOCK, "--yes"]).with_code(0).with_text(&["reservation of runner is ended"]);
        host.is_clean_soon();
    }

    fn a_reservation_ends_by_itself(host: &Host) {
        host.run(&["reserve", LOCK, "--reason", "short", "--for", "1s"]).with_code(0);
        host.run(&["acquire", "--name", LOCK, "--wait", "20s"]).with_code(0);
        host.run(&["release", "--name", LOCK]).with_code(0).with_text(&["is released", "is over"]);
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
        jobs_wait_for_a_reserved_lock_and_show_why
        who_holds_goes_on_and_nobody_comes_after
        a_second_reservation_replaces_the_first
        a_reservation_ends_by_itself
    }
}

#[test]
fn release_ends_ones_own_reservation_only_unless_told_otherwise() {
    let table = Store::table();
    let (mine, other) = (Host::new(&table, ""), Host::new(&table, ""));
    reserve(&mine, "mine");
    other.run(&["release", "--name", LOCK]).with_code(0).with_text(&["nothing to release"]);
    // The other's reservation takes the place of mine: a late release of mine leaves it.
    reserve(&other, "other");
    mine.run(&["release", "--name", LOCK]).with_code(0).with_text(&["this user's reservation of lock"]);
    assert_eq!(mine.status_of(LOCK)["holders"][0]["reserved"], "other");
    mine.run(&["release", "--name", LOCK, "--reservation"]).with_code(0).with_text(&["is ended: other"]);
    mine.run(&["release", "--name", LOCK, "--reservation"]).with_code(0).with_text(&["no reservation"]);
}

#[test]
fn an_acquire_and_a_reservation_of_one_user_are_both_given_back() {
    let host = Host::local("");
    host.run(&["acquire", "--name", LOCK]).with_code(0);
    reserve(&host, "after it");
    host.run(&["release", "--name", LOCK]).with_code(0).with_text(&["is released", "is ended: after it"]);
    host.is_clean_soon();
}

#[test]
fn a_reason_is_needed_and_commands_no_log() {
    let host = Host::local("");
    host.run(&["reserve", LOCK]).with_code(2).with_text(&["--reason"]);
    host.run(&["reserve", LOCK, "--reason", "  "]).with_code(2).with_text(&["--reason"]);
    reserve(&host, "\u{1b}[31mred\nline");
    let waiting = start(&host, &["acquire", "--name", LOCK, "--wait", "0"]).end().with_code(1);
    assert!(!waiting.error_text().contains('\u{1b}'), "{}", waiting.error_text());
    host.run(&["release", "--name", LOCK]).with_code(0);
}

#[test]
fn a_reservation_whose_reply_is_lost_is_known_and_can_be_released() {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let host = Host::through(&table, &proxy.url, "");
    reserve(&host, "the first");
    proxy.once(&[Kind::Holders], Fault::lost_reply());
    host.run(&["reserve", LOCK, "--reason", "the second"])
        .with_code(0)
        .with_text(&["is replaced: the first", "is reserved until"]);
    assert_eq!(proxy.hits(), 1, "the reply was lost");
    host.run(&["release", "--name", LOCK]).with_code(0).with_text(&["is ended: the second"]);
    // One that can't be looked for either is not known to be there, and still is its user's to release.
    proxy.once(&[Kind::Holders, Kind::FirstWrite], Fault::silent_reply());
    let unknown = start(&host, &["reserve", LOCK, "--reason", "the third"]);
    within(Duration::from_secs(3), "it is written", || {
        host.status_of(LOCK)["holders"][0]["reserved"] == "the third"
    });
    proxy.cut();
    unknown.end().with_code(3);
    proxy.mend();
    host.run(&["release", "--name", LOCK]).with_code(0).with_text(&["is ended: the third"]);
}
