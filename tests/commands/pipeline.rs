//! `acquire` in one job of a pipeline and `release` in another.

use crate::{
    caller::in_job,
    harness::{Attempt, Ended, Host, Job, LOCK, Stage, eventually},
};

fn run(host: &Host, job: &Job, args: &[&str]) -> Ended {
    Stage::start(in_job(host, job, args), false).end()
}

/// The program as a line of a script calls it.
fn program(host: &Host) -> String {
    format!("{} --config {}/config.yaml", env!("CARGO_BIN_EXE_pipeline-lock"), host.path().display())
}

/// Ends a job under whose executor a test ran.
fn ends_clean(host: &Host, job: &Attempt) {
    job.finish();
    host.is_clean_soon();
}

fn count(host: &Host) -> usize {
    host.status_of(LOCK)["holders"].as_array().unwrap().len()
}

#[test]
fn one_job_acquires_and_another_of_its_pipeline_releases() {
    for host in [Host::local(""), Host::dynamodb("")] {
        let (first, last) = (host.job(11).of_pipeline(7), host.job(12).of_pipeline(7));
        // The rules give the job its lock: no name is needed.
        run(&host, &first, &["acquire"]).with_code(0).with_text(&[LOCK]);
        assert_eq!(host.holders(), [11]);
        let stranger = host.job(13).of_pipeline(8);
        run(&host, &stranger, &["acquire", "--wait", "0"]).with_code(1).with_text(&["deploy-11", "jobs/11"]);
        run(&host, &stranger, &["release"]).with_code(0).with_text(&["nothing to release"]);
        assert_eq!(host.holders(), [11]);
        run(&host, &last, &["release"]).with_code(0).with_text(&["is released"]);
        assert_eq!(count(&host), 0);
    }
}

#[test]
fn two_jobs_of_a_pipeline_are_two_members_of_its_hold() {
    let host = Host::local("");
    let (one, other, last) =
        (host.job(21).of_pipeline(7), host.job(22).of_pipeline(7), host.job(23).of_pipeline(7));
    run(&host, &one, &["acquire"]).with_code(0);
    run(&host, &other, &["acquire", "--wait", "0"]).with_code(0);
    assert_eq!(count(&host), 2);
    run(&host, &one, &["release"]).with_code(0);
    assert_eq!(host.holders(), [22], "each gives back its own");
    run(&host, &one, &["acquire"]).with_code(0);
    run(&host, &last, &["release"]).with_code(0).with_text(&["2 holds"]);
    assert_eq!(count(&host), 0);
}

#[test]
fn a_second_acquire_of_one_job_is_no_second_hold_that_stays() {
    let host = Host::local("");
    let job = host.job(31).of_pipeline(7);
    run(&host, &job, &["acquire"]).with_code(0);
    run(&host, &job, &["acquire"]).with_code(0);
    run(&host, &job, &["release"]).with_code(0);
    assert_eq!(count(&host), 0);
}

#[test]
fn a_retried_pipeline_waits_for_another_pipelines_hold() {
    let host = Host::local("");
    let (holder, waiter) = (host.job(41).of_pipeline(7), host.job(42).of_pipeline(8));
    run(&host, &holder, &["acquire"]).with_code(0);
    let waiting = Stage::start(in_job(&host, &waiter, &["acquire"]), false);
    host.until_queued(&[42]);
    run(&host, &holder, &["release"]).with_code(0);
    waiting.end().with_code(0);
    assert_eq!(host.holders(), [42]);
    run(&host, &waiter, &["release"]).with_code(0);
    eventually("the lock is free", || count(&host) == 0);
}

#[test]
fn acquire_under_the_executor_that_holds_the_lock_has_nothing_to_do() {
    let host = Host::local("");
    let job = host.job(51).prepared();
    let program = program(&host);
    let lines = format!("{program} acquire --wait 0\n{program} release\necho done");
    job.script_ends(&lines).with_code(0).with_text(&[
        "is held already by this job's own executor",
        "nothing to release",
        "done",
    ]);
    assert_eq!(host.holders(), [51], "release leaves what the executor holds");
    ends_clean(&host, &job);
}

#[test]
fn release_says_that_a_running_job_of_the_pipeline_holds_on() {
    let host =
        Host::local("locks: [{ name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}', scope: pipeline, linger: 1h }]");
    let (first, second) = (host.job(55).of_pipeline(7), host.job(56).of_pipeline(7));
    run(&host, &first, &["acquire"]).with_code(0);
    let second = second.prepared();
    let program = program(&host);
    second.script_ends(&format!("{program} release\n{program} release")).with_code(0).with_text(&[
        "what `acquire` took is released",
        "nothing of an `acquire`",
        "RELEASE: after",
    ]);
    assert_eq!(host.holders(), [56]);
    second.finish();
    run(&host, &first, &["release"]).with_code(0).with_text(&["had left standing between its jobs is ended"]);
    assert_eq!(count(&host), 0);
}

#[test]
fn acquire_of_another_lock_under_the_executor_takes_it() {
    let host = Host::local("");
    let job = host.job(61).prepared();
    let program = program(&host);
    job.script_ends(&format!("{program} acquire --name other --wait 0"))
        .with_code(0)
        .with_text(&["PIPELINE_LOCK_FENCE="]);
    assert_eq!(host.status_of("other")["holders"][0]["who"]["job_id"], 61);
    ends_clean(&host, &job);
    run(&host, &host.job(61), &["release", "--name", "other"]).with_code(0).with_text(&["is released"]);
}

#[test]
fn a_job_may_choose_a_lock_of_its_own_project() {
    let host = Host::local("");
    let job = host.job(71).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/eu");
    run(&host, &job, &["acquire"]).with_code(0).with_text(&["gitlab.example.com/shop/web/eu acquired"]);
    run(&host, &job, &["release"]).with_code(0).with_text(&["gitlab.example.com/shop/web/eu is released"]);
    let job = host.job(72).variable("PIPELINE_LOCK", "gitlab.example.com/other/project");
    run(&host, &job, &["acquire"]).with_code(3).with_text(&["other/project"]);
}
