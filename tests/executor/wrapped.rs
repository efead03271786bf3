//! Around another driver: each stage is passed through as it is, under the lock.

use serde_json::Value;

use crate::{
    harness::{Attempt, Ended, Host, Stage, Version},
    wrapped_driver::host,
};

/// Runs a script of any text through the driver.
fn raw(job: &Attempt, text: &str) -> Ended {
    Stage::start(job.command(&["run", &job.raw_script(text), "build_script"]), false).end()
}

#[test]
fn each_stage_is_passed_through_and_the_lock_covers_all_of_them() {
    let host = host("");
    for call in ["prepare", "run", "cleanup"] {
        host.driver_does(call, &host.notes_holders(&format!("holders.{call}")));
    }
    let job = host.job(1).prepared();
    job.script_ends("echo scripted").with_code(0).with_text(&["scripted\n"]);
    job.run("a stage of 2031", "true").end().with_code(0);
    job.finish();
    let calls = ["config", "prepare", "run build_script", "run a stage of 2031", "cleanup"];
    assert_eq!(host.driver_calls(), calls);
    for call in ["prepare", "run", "cleanup"] {
        assert_eq!(host.noted_holders(&format!("holders.{call}")), [1], "{call}");
    }
    host.is_clean_soon();
}

#[test]
fn the_driver_has_the_stages_own_environment_and_folder() {
    let host = host("");
    let job = host.job(1).variable("DEPLOY_TO", "eu\nand us").prepared();
    raw(&job, "true").with_code(0);
    job.finish_but_the_folder();
    for call in ["prepare", "run", "cleanup"] {
        let mut seen = host.driver_environment(call);
        assert_eq!(
            seen.remove("PIPELINE_LOCK_NAME").as_deref(),
            Some("gitlab.example.com/shop/web"),
            "{call}"
        );
        assert_eq!(seen.remove("PIPELINE_LOCK_SLOT").as_deref(), Some("0"));
        let fence: u64 = seen.remove("PIPELINE_LOCK_FENCE").unwrap().parse().unwrap();
        assert!(fence > 0);
        let mark = job.token() + if call == "cleanup" { ".cleanup" } else { "" };
        assert_eq!(seen.remove("PIPELINE_LOCK_MARK"), Some(mark));
        for of_bash in ["_", "SHLVL", "PWD", "OLDPWD"] {
            seen.remove(of_bash);
        }
        let command = job.command(&[call]);
        let given = command.get_envs().filter_map(|(key, value)| Some((key.to_str()?, value?.to_str()?)));
        let given = given.filter(|(key, _)| !key.starts_with("PIPELINE_LOCK_"));
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(seen, given, "{call}");
        let pwd = std::fs::read_to_string(host.path().join(format!("driver/pwd.{call}"))).unwrap();
        assert_eq!(pwd.trim_end(), job.dir.to_str().unwrap(), "{call}");
    }
    assert_eq!(
        host.driver_environment("run")["AWS_ACCESS_KEY_ID"],
        "test",
        "what the runner has is the driver's"
    );
    host.is_clean_soon();
}

#[test]
fn the_drivers_cleanup_has_the_environment_of_its_own_stage() {
    let host = host("");
    let job = host.job(1).prepared();
    let mut cleanup = job.command(&["cleanup"]);
    cleanup.env("CUSTOM_ENV_CI_JOB_STATUS", "failed");
    Stage::start(cleanup, false).end().with_code(0);
    assert_eq!(
        host.driver_environment("cleanup")["CUSTOM_ENV_CI_JOB_STATUS"],
        "failed",
        "not that of prepare"
    );
    host.is_clean_soon();
}

#[test]
fn both_streams_come_out_as_they_are() {
    let host = host("");
    host.driver_does("prepare", "printf 'out\\0'; printf 'err\\377' >&2");
    let job = host.job(1).attempt();
    let prepared = job.prepare().end().with_code(0);
    assert!(prepared.out.ends_with(b"out\0"), "{}", prepared.text());
    assert_eq!(prepared.err, b"err\xff");
    let ended = raw(&job, "seq -f '%09.0f' 300000; seq -f '%09.0f' 300000 >&2").with_code(0);
    let expected: String = (1..=300_000).map(|i| format!("{i:09}\n")).collect();
    assert!(ended.out == expected.as_bytes(), "{} bytes of 3,000,000", ended.out.len());
    assert!(ended.err == expected.as_bytes(), "{} bytes of 3,000,000", ended.err.len());
    host.driver_does("cleanup", "echo cleaned; echo warned >&2");
    let ended = job.finish();
    assert!(ended.text().contains("cleaned\n"), "{}", ended.text());
    assert_eq!(ended.error_text(), "warned\n");
    host.is_clean_soon();
}

#[test]
fn a_runner_with_one_pipe_for_both_streams_keeps_their_order() {
    let host = host("");
    let job = host.job(1).of_version(Version::V14).prepared();
    let expected: String = (1..=1000).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let ended = job.script_ends("for i in $(seq 1000); do echo out $i; echo err $i >&2; done").with_code(0);
    assert!(ended.text() == expected, "the lines are not in their order");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn exit_codes_and_the_file_for_them_are_the_drivers_own() {
    let host = host("");
    let job = host.job(1).prepared();
    for code in [0, 1, 2, 3, 42, 255] {
        assert_eq!(raw(&job, &format!("exit {code}")).code, Some(code));
    }
    assert_eq!(job.exit_code(), None, "the file is the driver's");
    raw(&job, "echo 17 >$BUILD_EXIT_CODE_FILE; exit $BUILD_FAILURE_EXIT_CODE").with_code(1);
    assert_eq!(job.exit_code(), Some(17));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_driver_that_a_signal_ended_ends_its_stage_by_the_same_signal() {
    let host = host("");
    let job = host.job(1).prepared();
    for number in [9, 15, 11, 13, 6] {
        let ended = raw(&job, &format!("kill -{number} $$"));
        assert_eq!((ended.code, ended.signal), (None, Some(number)), "{}", ended.text());
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn config_completes_the_drivers_answer() {
    let host = host("");
    let said = r#"{"driver": {"name": "lxd", "version": "v2"}, "builds_dir": "/b", "hostname": "h", "shell": "sh",
        "builds_dir_is_shared": false, "job_env": {"VM": "7", "AWS_PROFILE": "vm", "TMPDIR": "/vm"}}"#;
    host.driver_does("config", &format!("echo '{said}'; echo 'a note' >&2"));
    let mut job = host.job(1).folder();
    let ended = job.config().with_code(0);
    assert_eq!(ended.error_text(), "a note\n");
    let answer: Value = serde_json::from_slice(&ended.out).unwrap();
    for (key, value) in [("builds_dir", "/b"), ("hostname", "h"), ("shell", "sh")] {
        assert_eq!(answer[key], value);
    }
    assert_eq!(answer["builds_dir_is_shared"], false, "the driver's own word");
    assert!(
        answer["driver"]["name"].as_str().unwrap().ends_with(", lxd") && answer["driver"]["version"] == "v2"
    );
    job.env = serde_json::from_value(answer["job_env"].clone()).unwrap();
    job.prepare().end().with_code(0);
    let seen = host.driver_environment("prepare");
    for (key, value) in [("VM", "7"), ("AWS_PROFILE", "vm"), ("TMPDIR", "/vm")] {
        assert_eq!(seen[key], value, "what the driver asked for is there, as without the lock");
    }
    assert!(!job.keeper().has("AWS_PROFILE=vm"), "and opens no lock table of ours");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn config_without_an_answer_is_answered_for() {
    let host = host("");
    let answer: Value = serde_json::from_slice(&host.job(1).folder().config().with_code(0).out).unwrap();
    assert_eq!(answer["builds_dir_is_shared"], true);
    assert_eq!(answer["driver"]["name"], "pipeline-lock");
}

#[test]
fn a_driver_of_one_command_is_enough() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/executor/driver.sh");
    let host = Host::local(&format!("driver: {{ run_exec: {program}, run_args: [run] }}"));
    let job = host.job(1).prepared();
    job.script_ends("echo scripted").with_code(0).with_text(&["scripted\n"]);
    job.finish();
    assert_eq!(host.driver_calls(), ["run build_script"]);
    host.is_clean_soon();
}

#[test]
fn a_job_waits_for_its_lock_before_its_driver_prepares_it() {
    let host = host("");
    let holder = host.job(1).prepared();
    let next = host.job(2).attempt();
    let waiting = next.prepare();
    host.until_queued(&[2]);
    assert_eq!(host.driver_called("prepare"), 1);
    holder.finish();
    waiting.end().with_code(0);
    assert_eq!(host.driver_called("prepare"), 2);
    next.finish();
    host.is_clean_soon();
}

#[test]
fn of_a_job_that_never_had_its_lock_the_driver_makes_and_takes_down_nothing() {
    let host = host("\nwait: 1s");
    let holder = host.job(1).prepared();
    let next = host.job(2).attempt();
    next.prepare().end().with_code(1).with_text(&["not free within 1 s"]);
    next.finish();
    assert_eq!(host.driver_calls(), ["config", "prepare", "config"], "the holder's things stay untouched");
    holder.finish();
    host.is_clean_soon();
}
