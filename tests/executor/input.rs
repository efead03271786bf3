//! Bad input gets one clear error with the way out, and costs no one a lock.

use std::fs;

use crate::harness::{Ended, Host, LOCK, Stage};

/// The output of a prepare with this file.
fn prepare_with(file: &str, code: i32) -> (Host, Ended) {
    let host = Host::local("");
    host.write("config.yaml", &file.replace("STATE", &host.path().join("state").display().to_string()));
    let job = host.job(1).attempt();
    let ended = job.prepare().end().with_code(code);
    assert!(!ended.text().contains("panicked"), "{}", ended.text());
    job.cleanup().with_code(0);
    host.nothing_is_left();
    (host, ended)
}

#[test]
fn a_broken_file_is_told_in_the_jobs_log_with_its_place() {
    let (_host, ended) = prepare_with("state: STATE\nheartbaet: 3s\n", 2);
    ended.with_text(&["config.yaml:2:1", "heartbaet", "heartbeat"]);
    let (_host, ended) = prepare_with("state: STATE\nlocks:\n  - name: [\n", 2);
    ended.with_text(&["config.yaml:"]);
    let (_host, ended) = prepare_with("state: STATE\nlease: 5s\nheartbeat: 2s\nkill_grace: 1s\n", 2);
    ended.with_text(&["config.yaml:2:", "lease", "at least"]);
}

#[test]
fn a_file_that_is_missing_is_told_with_the_way_out() {
    let host = Host::local("");
    fs::remove_file(host.path().join("config.yaml")).unwrap();
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["config.yaml", "--config"]);
    job.cleanup().with_code(0);
}

#[test]
fn none_takes_no_lock_and_the_job_runs() {
    let host = Host::local("");
    let holder = host.job(1).prepared();
    let job = host.job(2).variable("PIPELINE_LOCK", "none").attempt();
    job.prepare().end().with_code(0).with_text(&["PIPELINE_LOCK"]);
    assert_eq!((host.holders(), host.queue()), (vec![1], vec![]));
    let seen = job.script_ends("env").with_code(0).text();
    assert!(!seen.contains("PIPELINE_LOCK_NAME"), "{seen}");
    let left = job.script_ends(&format!("setsid sleep 600 & {}", host.tells("left", "$!")));
    left.with_code(0);
    let left = host.told("left");
    job.finish();
    assert!(!left.lives(), "its survivors are ended as any job's");
    holder.finish();
    host.is_clean_soon();
}

#[test]
fn a_name_that_is_not_the_jobs_to_take_fails_the_job_once() {
    let host = Host::local("");
    let job = host.job(1).variable("PIPELINE_LOCK", "gitlab.example.com/other/project").attempt();
    job.prepare().end().with_code(1).with_text(&["other/project"]);
    assert_eq!(job.exit_code(), Some(1));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_job_without_its_description_is_refused() {
    let host = Host::local("");
    let job = host.job(1).attempt();
    let mut command = job.command(&["prepare"]);
    command.env_remove("JOB_RESPONSE_FILE");
    Stage::start(command, false).end().with_code(2).with_text(&["JOB_RESPONSE_FILE", "pipeline-lock try"]);
    let file = job.dir.join("response.json");
    for broken in ["", "{\"id\": 7, \"tok", "{}", "[]", "null", "{\"id\": -1}", "{\"id\": \"7\"}"] {
        fs::write(&file, broken).unwrap();
        job.prepare().end().with_code(2).with_text(&["JOB_RESPONSE_FILE"]);
    }
    fs::remove_file(&file).unwrap();
    job.prepare().end().with_code(2).with_text(&["response.json"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_state_folder_that_cannot_be_made_is_told_with_the_key_that_names_it() {
    let host = Host::local("state: /proc/no-such-place/state");
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["/proc/no-such-place/state", "key `state`"]);
    job.cleanup().with_code(0);
    assert_eq!(host.holders(), [0; 0]);
}

#[test]
fn a_store_that_cannot_be_made_is_told_with_its_path() {
    let host = Host::local("");
    let text = format!(
        "store: {{ local: {{ path: /proc/no-such-place/locks.db }} }}\nstate: {}/state\n",
        host.path().display()
    );
    host.write("config.yaml", &text);
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["/proc/no-such-place", "give a path on"]);
    job.cleanup().with_code(0);
    host.nothing_is_left();
}

#[test]
fn a_state_folder_with_a_very_long_path_works() {
    let host = Host::local("");
    let state = host.path().join("d".repeat(90)).join("e".repeat(90));
    let text = fs::read_to_string(host.path().join("config.yaml")).unwrap();
    let old = format!("state: {}/state", host.path().display());
    host.write("config.yaml", &text.replace(&old, &format!("state: {}", state.display())));
    let job = host.job(1).prepared();
    job.script_ends("echo run").with_code(0).with_text(&["run"]);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
    assert_eq!(fs::read_dir(state.join("jobs")).unwrap().count(), 0);
}

#[test]
fn a_shell_that_is_missing_is_told_by_its_name() {
    let host = Host::local("shell: [no-such-shell, -l]");
    let job = host.job(1).prepared();
    job.script_ends("true").with_code(2).with_text(&["`no-such-shell`"]);
    assert_eq!(host.holders(), [1], "the lock stays until cleanup");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn cleanup_without_prepare_and_a_second_cleanup_do_nothing() {
    let host = Host::local("");
    let never = host.job(1).attempt();
    never.cleanup().with_code(0);
    let holder = host.job(2).prepared();
    let job = host.job(3).variable("PIPELINE_LOCK", "none").prepared();
    for _ in 0..2 {
        let ended = job.cleanup().with_code(0);
        assert_eq!(ended.error_text(), "");
    }
    assert_eq!(host.holders(), [2], "nobody else's lock");
    holder.cleanup().with_code(0);
    holder.finish();
    host.is_clean_soon();
}

#[test]
fn cleanup_after_a_failed_config_has_nothing_to_go_by_and_succeeds() {
    let host = Host::local("");
    let job = host.job(1).folder();
    let ended = job.cleanup().with_code(0);
    assert_eq!(ended.text() + &ended.error_text(), "");
}

#[test]
fn stages_without_the_config_stage_say_what_the_runners_file_lacks() {
    let host = Host::local("");
    let job = host.job(1).folder();
    job.prepare().end().with_code(2).with_text(&["config.toml", "config_exec"]);
    job.script_ends("echo never").with_code(2).with_text(&["config.toml"]);
    assert_eq!(host.status_of(LOCK)["holders"].as_array().unwrap().len(), 0);
}

#[test]
fn a_stage_after_cleanup_is_not_run() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    job.cleanup().with_code(0);
    let late = job.script_ends("echo never").with_code(2);
    assert!(!late.text().contains("never\n"), "{}", late.text());
    host.is_clean_soon();
}
