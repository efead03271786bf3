//! Commands under a lock that call the program once more: nobody waits for oneself.

use crate::{
    caller::{in_job, start},
    harness::{Host, Job, LOCK, Stage},
};

fn program(host: &Host) -> String {
    format!("{} --config {}/config.yaml", env!("CARGO_BIN_EXE_pipeline-lock"), host.path().display())
}

#[test]
fn exec_under_an_exec_that_holds_its_lock_runs_its_command() {
    for host in [Host::local(""), Host::dynamodb("")] {
        let inner = format!(
            "{} exec --wait 0 --name {LOCK} -- sh -c 'echo $PIPELINE_LOCK_NAME; exit 7'",
            program(&host)
        );
        let ended = start(&host, &["exec", "--name", LOCK, "--", "sh", "-c", &inner]).end().with_code(7);
        assert_eq!(ended.text(), format!("{LOCK}\n"));
        ended.with_text(&["is held already by an `exec` around this process"]);
        host.is_clean_soon();
    }
}

#[test]
fn the_outermost_exec_is_known_through_one_in_between() {
    let host = Host::local("");
    let program = program(&host);
    let script = format!(
        "{program} exec --name other -- sh -c '{program} exec --wait 0 --name {LOCK} --name other --name third -- \
         sh -c \"echo \\$PIPELINE_LOCK_NAME\"'"
    );
    let ended = start(&host, &["exec", "--name", LOCK, "--", "sh", "-c", &script]).end().with_code(0);
    assert_eq!(ended.text(), "third\n", "only what was not held is taken");
    assert_eq!(ended.error_text().matches("is held already").count(), 2, "{}", ended.error_text());
    host.is_clean_soon();
}

#[test]
fn acquire_under_an_exec_has_nothing_to_do() {
    let host = Host::local("");
    let inner = format!("{} acquire --wait 0 --name {LOCK}", program(&host));
    let ended = start(&host, &["exec", "--name", LOCK, "--", "sh", "-c", &inner]).end().with_code(0);
    ended.with_text(&["is held already by an `exec` around this process"]);
    host.is_clean_soon();
}

#[test]
fn a_command_that_is_not_there_is_127_under_a_held_lock_too() {
    let host = Host::local("");
    let inner = format!("{} exec --name {LOCK} -- no-such-command", program(&host));
    let ended = start(&host, &["exec", "--name", LOCK, "--", "sh", "-c", &inner]).end().with_code(127);
    ended.with_text(&["no-such-command"]);
}

#[test]
fn exec_under_the_executor_that_holds_its_lock_runs_its_command() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    job.script_ends(&format!("{} exec --wait 0 -- echo deployed", program(&host)))
        .with_code(0)
        .with_text(&["is held already by this job's own executor", "deployed"]);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn exec_after_the_jobs_own_acquire_runs_its_command_and_another_jobs_waits() {
    let host = Host::local("");
    let run = |job: &Job, args: &[&str]| Stage::start(in_job(&host, job, args), false).end();
    let (one, other) = (host.job(1).of_pipeline(7), host.job(2).of_pipeline(7));
    run(&one, &["acquire"]).with_code(0);
    run(&one, &["exec", "--wait", "0", "--", "echo", "deployed"])
        .with_code(0)
        .with_text(&["is held already by this job", "deployed"]);
    run(&other, &["exec", "--wait", "0", "--", "echo", "never"]).with_code(1);
    run(&one, &["release"]).with_code(0);
    run(&one, &["exec", "--wait", "0", "--", "sh", "-c", "echo $PIPELINE_LOCK_NAME"])
        .with_code(0)
        .with_text(&[LOCK]);
    host.is_clean_soon();
}

#[test]
fn a_mark_that_is_made_up_holds_nothing() {
    let host = Host::local("");
    host.run(&["acquire", "--name", LOCK]).with_code(0);
    let mut command = host.command(&["exec", "--wait", "0", "--name", LOCK, "--", "echo", "never"]);
    command.env("PIPELINE_LOCK_MARK", uuid::Uuid::new_v4().to_string()).env("PIPELINE_LOCK_AROUND", "x,,y");
    Stage::start(command, false).end().with_code(1);
    host.run(&["release", "--name", LOCK]).with_code(0);
}
