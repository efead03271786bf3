//! A hold of `acquire` whose time is over, though nobody has come since: it counts for nothing.

use crate::{
    caller::in_job,
    harness::{Ended, Host, Job, LOCK, Stage, eventually},
};

fn run(host: &Host, job: &Job, args: &[&str]) -> Ended {
    Stage::start(in_job(host, job, args), false).end()
}

/// `job` has acquired `name`, and the time of that is over.
fn acquired_once(host: &Host, job: &Job, name: &str) {
    run(host, job, &["acquire", "--name", name, "--ttl", "1"]).with_code(0);
    eventually("its end", || host.run(&["status", name]).with_code(0).text().contains("free"));
}

#[test]
fn it_is_shown_as_free() {
    for host in [Host::local(""), Host::dynamodb("")] {
        acquired_once(&host, &host.job(1), LOCK);
        host.run(&["status"]).with_code(0).with_text(&["No lock is held or awaited."]);
        host.run(&["list", "--held"]).with_code(0).with_text(&["There is no such lock."]);
        host.run(&["unlock", LOCK]).with_code(0).with_text(&["is free"]);
    }
}

#[test]
fn exec_after_it_takes_the_lock_anew() {
    let host = Host::local("");
    let job = host.job(1);
    acquired_once(&host, &job, LOCK);
    let ended = run(&host, &job, &["exec", "--name", LOCK, "--", "sh", "-c", "echo $PIPELINE_LOCK_NAME"]);
    assert_eq!(ended.with_code(0).text(), format!("{LOCK}\n"));
}

#[test]
fn another_lock_is_waited_for_after_it() {
    let host = Host::local("");
    let job = host.job(2);
    acquired_once(&host, &job, "z");
    run(&host, &host.job(1), &["acquire", "--name", LOCK]).with_code(0);
    let waiting = Stage::start(in_job(&host, &job, &["exec", "--name", LOCK, "--", "true"]), false);
    host.until_queued(&[2]);
    run(&host, &host.job(1), &["release", "--name", LOCK]).with_code(0);
    waiting.end().with_code(0);
}
