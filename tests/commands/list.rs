//! `list` and `history`: what there is, and what has been.

use serde_json::Value;

use crate::{
    caller::past,
    harness::{Ended, Host, LOCK, eventually},
};

fn names(ended: &Ended) -> Vec<String> {
    let locks: Value = serde_json::from_slice(&ended.out).expect("JSON");
    locks.as_array().unwrap().iter().map(|lock| lock["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn locks_are_listed_a_line_each_and_chosen_by_what_they_are() {
    for host in [Host::local(""), Host::dynamodb("")] {
        host.run(&["list"]).with_code(0).with_text(&["There is no such lock."]);
        host.run(&["acquire", "--name", "other/lock"]).with_code(0);
        host.run(&["release", "--name", "other/lock"]).with_code(0);
        let holder = host.job(1).prepared();
        let waiter = host.job(2).attempt();
        let waiting = waiter.prepare();
        host.until_queued(&[2]);
        let list = host.run(&["list"]).with_code(0);
        let lines: Vec<String> = list.text().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("LOCK"), "{lines:?}");
        assert!(lines[1].contains(LOCK) && lines[1].contains("deploy-1 #1 of shop/web"), "{lines:?}");
        assert!(lines[2].starts_with("other/lock") && lines[2].contains("free"), "{lines:?}");
        let chosen = |args: &[&str]| names(&host.run(&[&["list", "--json"], args].concat()).with_code(0));
        assert_eq!(chosen(&[]), [LOCK, "other/lock"]);
        assert_eq!(chosen(&["--prefix", "other/"]), ["other/lock"]);
        assert_eq!(chosen(&["--held"]), [LOCK]);
        assert_eq!(chosen(&["--waiting"]), [LOCK]);
        assert_eq!(chosen(&["--older-than", "1h"]), [""; 0]);
        eventually("it is held for a second", || chosen(&["--older-than", "1"]) == [LOCK]);
        holder.finish();
        waiting.end().with_code(0);
        assert_eq!(chosen(&["--waiting"]), [""; 0]);
        waiter.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_history_tells_who_waited_how_long_and_how_it_ended() {
    for host in [Host::local(""), Host::dynamodb("")] {
        host.run(&["history", LOCK]).with_code(0).with_text(&["No hold of lock"]);
        let first = host.job(1).prepared();
        let second = host.job(2).attempt();
        let waiting = second.prepare();
        host.until_queued(&[2]);
        first.finish();
        waiting.end().with_code(0);
        second.finish();
        host.is_clean_soon();
        eventually("both are recorded", || past(&host).len() == 2);
        let released = |job: &str| (job.to_owned(), "released".to_owned());
        assert_eq!(past(&host), [released("deploy-2"), released("deploy-1")], "the newest comes first");
        let history = host.run(&["history", LOCK, "--json", "-n", "1"]).with_code(0);
        let history: Value = serde_json::from_slice(&history.out).expect("JSON");
        assert_eq!(history.as_array().unwrap().len(), 1);
        assert!(history[0]["waited"].as_u64().unwrap() > 0, "{history}");
        assert_eq!(history[0]["owner"], "job:gitlab.example.com/2");
        host.run(&["history", LOCK]).with_code(0).with_text(&[
            "ENDED",
            "deploy-1 #1 of shop/web",
            "released",
        ]);
    }
}

#[test]
fn a_command_under_exec_is_in_the_history() {
    let host = Host::local("");
    // Whatever the words of a command are, others read the name of its program.
    host.run(&["exec", "--name", LOCK, "--", "/bin/true", "--password=s3cret"]).with_code(0);
    host.nothing_is_left();
    assert_eq!(past(&host), [("true".to_owned(), "released".to_owned())]);
}

#[test]
fn a_dead_keepers_hold_that_cleanup_buries_is_in_the_history() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    host.keepers()[0].signal(rustix::process::Signal::KILL);
    eventually("the keeper is dead", || host.keepers().is_empty());
    job.finish();
    assert_eq!(past(&host), [("deploy-1".to_owned(), "evicted".to_owned())]);
    host.is_clean_soon();
}
