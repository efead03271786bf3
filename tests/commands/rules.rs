//! `acquire`, `exec` and `release` in a CI job by what the file's rules and the job's variables say.

use crate::{
    caller::in_job,
    harness::{Ended, Host, Job, LOCK, Stage},
};

/// A rule for all jobs, with `more` in it.
fn host_with(more: &str) -> Host {
    Host::local(&format!("locks:\n  - name: \"{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}\"\n    {more}\n"))
}

fn run(host: &Host, job: &Job, args: &[&str]) -> Ended {
    Stage::start(in_job(host, job, args), false).end()
}

fn count(host: &Host, name: &str) -> usize {
    host.status_of(name)["holders"].as_array().unwrap().len()
}

#[test]
fn the_rules_mode_and_limit_are_the_commands_too() {
    let host = host_with("mode: shared\n    limit: 2");
    for (pipeline, code) in [(1, 0), (2, 0), (3, 1)] {
        run(&host, &host.job(pipeline).of_pipeline(pipeline), &["acquire", "--wait", "0"]).with_code(code);
    }
    let fourth = host.job(4).of_pipeline(4);
    run(&host, &fourth, &["exec", "--wait", "0", "--", "true"]).with_code(1);
    run(&host, &host.job(1).of_pipeline(1), &["release"]).with_code(0);
    run(&host, &fourth, &["exec", "--wait", "0", "--", "true"]).with_code(0);
    assert_eq!(count(&host, LOCK), 1);
}

#[test]
fn a_places_name_is_told() {
    let host = host_with("resources: [board-a, board-b]");
    run(&host, &host.job(1), &["acquire"])
        .with_code(0)
        .with_text(&["board-a", "PIPELINE_LOCK_RESOURCE=board-a"]);
    let script = "echo $PIPELINE_LOCK_RESOURCE in $PIPELINE_LOCK_SLOT";
    let second = run(&host, &host.job(2), &["exec", "--", "sh", "-c", script]).with_code(0);
    assert_eq!(second.text(), "board-b in 1\n");
}

#[test]
fn the_rules_wait_is_waited_unless_the_command_says_otherwise() {
    let host = host_with("wait: 1s");
    run(&host, &host.job(1), &["acquire"]).with_code(0);
    run(&host, &host.job(2), &["acquire"]).with_code(1).with_text(&["not free within 1 s"]);
    run(&host, &host.job(2), &["exec", "--", "true"]).with_code(1).with_text(&["not free within 1 s"]);
    run(&host, &host.job(2), &["exec", "--wait", "0", "--", "true"])
        .with_code(1)
        .with_text(&["not free; held"]);
}

#[test]
fn an_older_pipeline_is_5() {
    let host = host_with("supersede: true");
    let (older, newer) = (host.job(1).of_pipeline(8), host.job(2).of_pipeline(9));
    run(&host, &newer, &["acquire"]).with_code(0);
    run(&host, &older, &["acquire"]).with_code(5).with_text(&["pipeline 9 is newer"]);
    run(&host, &older, &["exec", "--", "echo", "never"]).with_code(5).with_text(&["pipeline 9 is newer"]);
    assert_eq!(host.holders(), [2]);
    host.nothing_is_left();
}

#[test]
fn all_locks_that_a_job_has_are_taken_and_given_back() {
    let host = Host::local("");
    let job = host.job(1).variable("PIPELINE_LOCK", "us, eu");
    let acquired = run(&host, &job, &["acquire"]).with_code(0);
    let numbers = acquired.text().trim_end().strip_prefix("PIPELINE_LOCK_FENCE=").unwrap().to_owned();
    assert_eq!(numbers.split(',').filter(|number| number.parse::<u64>().is_ok()).count(), 2, "{numbers}");
    let names = [format!("{LOCK}/eu"), format!("{LOCK}/us")];
    assert_eq!(names.each_ref().map(|name| count(&host, name)), [1, 1]);
    run(&host, &job, &["release"]).with_code(0).with_text(&["/eu is released", "/us is released"]);
    assert_eq!(names.each_ref().map(|name| count(&host, name)), [0, 0]);
    let script = "echo $PIPELINE_LOCK_NAME";
    let ran = run(&host, &job, &["exec", "--", "sh", "-c", script]).with_code(0);
    assert_eq!(ran.text(), format!("{}\n", names.join(",")));
}

#[test]
fn a_job_without_a_lock_says_why() {
    let host = Host::local("");
    let job = host.job(1).variable("PIPELINE_LOCK", "none");
    for args in [&["acquire"][..], &["release"], &["exec", "--", "true"]] {
        run(&host, &job, args).with_code(3).with_text(&["no lock", "--name"]);
    }
}

#[test]
fn a_child_pipeline_shares_its_parents_hold() {
    let host = Host::local("");
    let parent = host.job(1).of_pipeline(7);
    run(&host, &parent, &["acquire"]).with_code(0);
    let child = |value| host.job(2).of_pipeline(8).variable("PIPELINE_LOCK_PARENT", value);
    run(&host, &child("7"), &["acquire", "--wait", "0"]).with_code(0);
    assert_eq!(count(&host, LOCK), 2);
    run(&host, &child("7"), &["release"]).with_code(0).with_text(&["is released"]);
    assert_eq!(host.holders(), [1], "its own part alone");
    run(&host, &host.job(3).of_pipeline(8), &["acquire", "--wait", "0"]).with_code(1);
    run(&host, &child("$CI_PIPELINE_ID"), &["acquire"]).with_code(3).with_text(&["PIPELINE_LOCK_PARENT"]);
}

#[test]
fn a_pipelines_standing_hold_is_joined_and_ended_by_release() {
    let host = host_with("scope: pipeline\n    linger: 5m");
    let job = |id| host.job(id).of_pipeline(7);
    let first = job(1).prepared();
    first.script_ends("true").with_code(0);
    first.finish();
    assert_eq!(count(&host, LOCK), 1, "it stands for the pipeline's next job");
    run(&host, &host.job(9).of_pipeline(8), &["exec", "--wait", "0", "--", "true"]).with_code(1);
    run(&host, &job(2), &["exec", "--wait", "0", "--", "echo", "inside"]).with_code(0).with_text(&["inside"]);
    assert_eq!(count(&host, LOCK), 1, "exec leaves it standing, as a job does");
    run(&host, &host.job(9).of_pipeline(8), &["release"]).with_code(0).with_text(&["nothing to release"]);
    run(&host, &job(3), &["release"])
        .with_code(0)
        .with_text(&["what its pipeline had left standing between its jobs is ended"]);
    host.is_clean_soon();
}

#[test]
fn a_name_before_one_that_the_job_holds_is_only_tried() {
    let host = Host::local("");
    host.run(&["acquire", "--name", "a"]).with_code(0);
    let job = host.job(1).prepared();
    let program =
        format!("{} --config {}/config.yaml", env!("CARGO_BIN_EXE_pipeline-lock"), host.path().display());
    for command in ["acquire --name a", "exec --name a -- true"] {
        job.script_ends(&format!("code=0; {program} {command} || code=$?; echo \"code $code\""))
            .with_code(0)
            .with_text(&["code 1", "lock a: not free, and not waited for", &format!("holds lock {LOCK}")]);
    }
    job.finish();
    host.run(&["release", "--name", "a"]).with_code(0);
    host.is_clean_soon();
}
