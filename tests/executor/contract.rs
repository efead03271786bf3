//! The runner's side of the contract: numbers, files and answers that it hands over or reads.

use serde_json::Value;

use crate::harness::{Host, Stage, Version};

fn answer(host: &Host) -> Value {
    serde_json::from_slice(&host.job(1).folder().config().with_code(0).out).expect("config answers in JSON")
}

#[test]
fn config_leaves_the_folders_to_the_runner_unless_the_file_names_them() {
    let plain = answer(&Host::local(""));
    for key in ["builds_dir", "cache_dir"] {
        assert!(plain.get(key).is_none(), "{plain}");
    }
    assert_eq!(plain["builds_dir_is_shared"], true, "the runner's own folder is shared as well: {plain}");
    assert_eq!(plain["driver"]["name"], "pipeline-lock");
    let set = answer(&Host::local("builds_dir: /srv/builds\ncache_dir: /srv/cache"));
    assert_eq!(set["builds_dir"], "/srv/builds");
    assert_eq!(set["cache_dir"], "/srv/cache");
    assert_eq!(set["builds_dir_is_shared"], true, "concurrent jobs of a project get folders of their own");
}

#[test]
fn each_attempt_has_a_token_of_its_own() {
    let host = Host::local("");
    assert_ne!(host.job(1).attempt().token(), host.job(1).attempt().token());
}

#[test]
fn the_runners_own_exit_codes_are_used() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    for (script, code) in [("exit 5", 71), ("exit 0", 0)] {
        let mut command = job.command(&["run", &job.script(script), "build_script"]);
        command.env("BUILD_FAILURE_EXIT_CODE", "71").env("SYSTEM_FAILURE_EXIT_CODE", "72");
        Stage::start(command, false).end().with_code(code);
    }
    job.finish();
    let mut late = job.command(&["run", "/no/script", "build_script"]);
    late.current_dir(host.path()).env("SYSTEM_FAILURE_EXIT_CODE", "72");
    Stage::start(late, false).end().with_code(72);
    host.is_clean_soon();
}

#[test]
fn an_exit_code_file_that_cannot_be_written_still_leaves_a_failure() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let mut command = job.command(&["run", &job.script("exit 5"), "build_script"]);
    command.env("BUILD_EXIT_CODE_FILE", "/proc/no-such-file");
    Stage::start(command, false).end().with_code(1);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn every_version_of_the_runner_is_served() {
    for version in [Version::V14, Version::V17, Version::V19] {
        let host = Host::local("");
        let job = host.job(1).of_version(version).prepared();
        assert_eq!(host.holders(), [1]);
        job.script_ends("echo run").with_code(0).with_text(&["run\n"]);
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_script_that_is_not_there_fails_its_stage_and_no_more() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let missing = job.command(&["run", "/no/such/script", "build_script"]);
    Stage::start(missing, false).end().with_code(1).with_text(&["/no/such/script"]);
    assert_eq!(job.exit_code(), Some(127), "as the shell says it");
    job.script_ends("echo run").with_code(0);
    job.finish();
    host.is_clean_soon();
}
