//! `watch`: the locks as they change hands.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    caller::start,
    harness::{Host, LOCK, Stage, eventually},
    terminal::Terminal,
};

fn watch<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["watch", "--interval", "100ms"], more].concat()
}

#[test]
fn each_change_is_a_line() {
    for host in [Host::local(""), Host::dynamodb("")] {
        for which in [&[LOCK][..], &["--prefix", "gitlab.example.com/"], &[]] {
            let holder = host.job(1).prepared();
            let watching = start(&host, &watch(which));
            watching.says("held      job deploy-1 #1");
            let waiter = host.job(2).attempt();
            let waiting = waiter.prepare();
            watching.says("queued    job deploy-2");
            holder.finish();
            watching.says("released  job deploy-1 #1");
            watching.says("granted   job deploy-2 #2");
            waiting.end().with_code(0);
            host.run(&["reserve", LOCK, "--reason", "a pause"]).with_code(0);
            watching.says(": a pause");
            waiter.finish();
            host.run(&["release", "--name", LOCK]).with_code(0);
            watching.says("released  runner");
            watching.signal(Signal::TERM);
            let ended = watching.end().with_code(143);
            assert!(ended.text().lines().all(|line| line.contains(LOCK)), "{}", ended.text());
            host.is_clean_soon();
        }
    }
}

#[test]
fn programs_get_an_object_a_line() {
    let host = Host::local("");
    let first = host.job(1).prepared();
    let watching = start(&host, &watch(&["--json"]));
    watching.says("held");
    first.finish();
    watching.says("released");
    let second = host.job(2).prepared();
    watching.says("granted");
    second.finish();
    // Of the second one.
    eventually("the last event", || watching.said().matches("released").count() == 2);
    watching.signal(Signal::INT);
    let text = watching.end().with_code(130).text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["held", "released", "granted", "released"]);
    assert_eq!((&events[2]["lock"], &events[2]["who"]["job_id"]), (&LOCK.into(), &2.into()));
    assert_eq!(events[2]["fence"], events[3]["fence"]);
}

#[test]
fn who_stops_reading_ends_it() {
    let host = Host::local("");
    host.run(&["acquire", "--name", LOCK]).with_code(0);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Stage::start_into(host.command(&watch(&[])), writer.into()).end().with_code(0);
}

#[test]
fn a_terminal_has_a_picture_that_changes_and_is_given_back() {
    let host = Host::local("");
    for (which, end) in [(&[][..], "q"), (&[LOCK][..], "\u{3}")] {
        let mut terminal = Terminal::start(&host, &watch(which));
        terminal.shows(if which.is_empty() { "No lock is held or awaited." } else { "  free" });
        assert!(terminal.shown().contains("\u{1b}[?1049h"), "another screen");
        let job = host.job(1).prepared();
        terminal.shows("deploy-1 #1");
        job.finish();
        terminal.types(end);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.ends_with("\u{1b}[?1049l"), "the screen is as before: {shown:?}");
        host.is_clean_soon();
    }
}

#[test]
fn what_cannot_be_watched_is_an_error_at_once() {
    let host = Host::local("");
    host.run(&["watch", LOCK, "--prefix", "a"]).with_code(2);
    host.run(&["watch", "a\nb"]).with_code(3);
}
