//! `try`: a job through the four stages, without a GitLab.

use rustix::process::Signal;

use crate::{
    caller::start,
    harness::{Host, eventually},
};

const TRIED: &str = "try.localhost/try/project";

fn count(host: &Host, list: &str) -> usize {
    host.status_of(TRIED)[list].as_array().unwrap().len()
}

#[test]
fn a_tried_job_shows_its_log_and_ends_as_its_command_does() {
    let host = Host::local("");
    host.run(&["try", "--", "echo", "it's", "a  job"]).with_code(0).with_text(&[
        TRIED,
        "acquired",
        "it's a  job\n",
        "is released",
    ]);
    host.run(&["try", "--", "sh", "-c", "exit 42"]).with_code(42);
    host.run(&["try", "--", "no-such-command"]).with_code(127);
    host.nothing_is_left();
}

#[test]
fn a_second_tried_job_waits_for_the_first() {
    let host = Host::local("");
    let gate = host.gate("first");
    let first = start(&host, &["try", "--job", "first", "--", "sh", "-c", &gate]);
    host.until_reached("first");
    let second = start(&host, &["try", "--job", "second", "--", "echo", "second"]);
    eventually("the second waits", || count(&host, "queue") == 1);
    second.says("job first");
    host.open("first");
    first.end().with_code(0);
    second.end().with_code(0).with_text(&["Waiting for lock", "second\n"]);
    host.nothing_is_left();
}

#[test]
fn a_signal_ends_the_tried_job_and_frees_its_lock() {
    let host = Host::local("");
    let script = format!("{}sleep 600", host.tells("ready", "$$"));
    let tried = start(&host, &["try", "--", "sh", "-c", &script]);
    let shell = host.told("ready");
    tried.term();
    tried.end().with_code(143);
    assert!(!shell.lives());
    assert_eq!(count(&host, "holders"), 0);
    host.nothing_is_left();
}

#[test]
fn a_signal_while_it_waits_leaves_the_queue() {
    let host = Host::local("");
    let gate = host.gate("first");
    let first = start(&host, &["try", "--", "sh", "-c", &gate]);
    host.until_reached("first");
    let second = start(&host, &["try", "--", "echo", "never"]);
    eventually("the second waits", || count(&host, "queue") == 1);
    second.process().signal(Signal::INT);
    second.end().with_code(130);
    assert_eq!(count(&host, "queue"), 0);
    host.open("first");
    first.end().with_code(0);
    host.nothing_is_left();
}

#[test]
fn variables_refine_the_lock() {
    let host = Host::local("");
    let ended = host.run(&["try", "--variable", "PIPELINE_LOCK=none", "--", "echo", "run"]).with_code(0);
    assert!(!ended.text().contains("acquired"), "{}", ended.text());
    host.run(&["try", "--project", "a/b", "--variable", "PIPELINE_LOCK=try.localhost/a/b/eu", "--", "true"])
        .with_code(0)
        .with_text(&["try.localhost/a/b/eu acquired"]);
    host.run(&["try", "--variable", "nonsense", "--", "true"]).with_code(2).with_text(&["NAME=VALUE"]);
    host.nothing_is_left();
}
