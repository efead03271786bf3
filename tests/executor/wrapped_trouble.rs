//! Around another driver: what fails, hangs or is missing is that job's trouble alone, and the lock goes on.

use std::time::{Duration, Instant};

use crate::{
    harness::{Host, Stage, eventually},
    wrapped_driver::{host, settings},
};

#[test]
fn an_answer_of_config_that_is_none_fails_the_job_clearly() {
    let host = host("");
    let job = host.job(1);
    for (lines, parts) in [
        ("echo nonsense", &["config_exec", "not JSON"][..]),
        ("echo '{\"builds_dir\": 5}'", &["config_exec", "`builds_dir`"]),
        ("echo '{\"job_env\": {\"PIPELINE_LOCK_X\": \"1\"}}'", &["PIPELINE_LOCK_X", "taken"]),
        ("head -c 2000000 /dev/zero", &["longer than 1 MiB"]),
    ] {
        host.driver_does("config", lines);
        job.folder().config().with_code(2).with_text(parts);
    }
    host.nothing_is_left();
}

#[test]
fn a_config_that_fails_passes_its_end_on() {
    let host = host("");
    for (lines, code, signal) in
        [("exit 1", Some(1), None), ("exit 7", Some(7), None), ("kill -9 $$", None, Some(9))]
    {
        host.driver_does("config", &format!("echo why >&2; {lines}"));
        let ended = host.job(1).folder().config().with_text(&["why\n", "config_exec"]);
        assert_eq!((ended.code, ended.signal), (code, signal));
    }
    host.nothing_is_left();
}

#[test]
fn a_config_that_hangs_is_ended_with_its_children() {
    let host = host("  config_exec_timeout: 500ms\n  graceful_kill_timeout: 200ms");
    let child = host.tells("child", "$!");
    host.driver_does(
        "config",
        &format!("trap '' TERM; setsid sleep 600 & {child} while true; do sleep 1; done"),
    );
    let since = Instant::now();
    host.job(1).folder().config().with_code(2).with_text(&["config_exec_timeout"]);
    assert!(since.elapsed() < Duration::from_secs(8), "it took {:?}", since.elapsed());
    host.nothing_is_left();
}

#[test]
fn a_child_that_keeps_configs_output_open_holds_nothing_up() {
    let host = host("");
    host.driver_does("config", &format!("echo '{{}}'; setsid sleep 600 & {}", host.tells("child", "$!")));
    let since = Instant::now();
    let job = host.job(1).attempt();
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    let child = host.told("child");
    job.prepare().end().with_code(0);
    job.finish();
    assert!(!child.lives(), "it is the job's, and ends with it");
    host.is_clean_soon();
}

#[test]
fn a_driver_that_is_not_there_or_no_program_fails_its_stage_alone() {
    let host = Host::local("driver: { config_exec: /no/driver, run_exec: x }");
    host.job(1).folder().config().with_code(2).with_text(&["config_exec /no/driver", "No such file"]);
    let host = Host::local(
        "driver: { prepare_exec: /etc/passwd, run_exec: /no/driver, cleanup_exec: no-such-driver }",
    );
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["/etc/passwd", "denied"]);
    job.run("build_script", "true").end().with_code(2).with_text(&["/no/driver", "No such file"]);
    job.cleanup().with_code(2).with_text(&["no-such-driver", "released nonetheless"]);
    host.is_clean_soon();
}

#[test]
fn a_prepare_that_fails_passes_its_end_on_and_the_cleanup_comes_under_the_lock() {
    for (lines, code) in [("exit 1", 1), ("exit 2", 2), ("exit 9", 9)] {
        let host = host("");
        host.driver_does("prepare", lines);
        host.driver_does("cleanup", &host.notes_holders("holders"));
        let job = host.job(1).attempt();
        job.prepare().end().with_code(code);
        assert_eq!(host.holders(), [1], "the lock outlives what prepare may have begun");
        job.finish();
        assert_eq!((host.driver_called("cleanup"), host.noted_holders("holders")), (1, vec![1]));
        host.is_clean_soon();
    }
}

#[test]
fn a_prepare_that_takes_too_long_gets_term_then_kill() {
    let host = host("  prepare_exec_timeout: 500ms\n  graceful_kill_timeout: 300ms");
    let trap = format!("trap '{}' TERM", host.tells("heard", "$$").trim_end());
    host.driver_does("prepare", &format!("{trap}\nwhile true; do sleep 0.05; done"));
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["prepare_exec_timeout"]);
    assert!(host.path().join("heard").exists(), "TERM comes first");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_canceled_prepare_hands_the_signal_to_its_driver() {
    let host = host("");
    host.driver_does(
        "prepare",
        &format!("trap 'exit 5' TERM; {}wait", host.gate("in").replace("sleep 0.02", "sleep 0.02 & wait $!")),
    );
    let job = host.job(1).attempt();
    let prepare = job.prepare();
    host.until_reached("in");
    prepare.term();
    prepare.end().with_code(5);
    job.finish();
    assert_eq!(host.driver_called("cleanup"), 1);
    host.is_clean_soon();
}

#[test]
fn a_script_that_does_not_heed_term_is_killed_after_the_drivers_grace() {
    let host = host("  graceful_kill_timeout: 500ms");
    let job = host.job(1).prepared();
    let trap = format!("trap '{}' TERM", host.tells("heard", "$$").trim_end());
    let script =
        job.raw_script(&format!("{trap}\n{}while true; do sleep 0.05; done", host.tells("deaf", "$$")));
    let run = Stage::start(job.command(&["run", &script, "build_script"]), false);
    let deaf = host.told("deaf");
    run.term();
    assert_eq!(run.end().signal, Some(9));
    assert!(host.path().join("heard").exists() && !deaf.lives());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_cleanup_that_fails_is_told_and_the_lock_is_free() {
    let host = host("");
    host.driver_does("cleanup", "echo 'no such machine' >&2; exit 3");
    let job = host.job(1).prepared();
    job.cleanup().with_code(3).with_text(&["no such machine\n", "exit code 3", "is released"]);
    host.is_clean_soon();
}

#[test]
fn a_cleanup_that_hangs_is_ended_and_the_lock_is_free() {
    let host = host("  cleanup_exec_timeout: 500ms\n  graceful_kill_timeout: 300ms");
    host.driver_does(
        "cleanup",
        &format!("trap '' TERM; {}while true; do sleep 1; done", host.tells("deaf", "$$")),
    );
    let job = host.job(1).prepared();
    job.cleanup().with_code(2).with_text(&["cleanup_exec_timeout", "is released"]);
    host.is_clean_soon();
}

#[test]
fn a_cleanup_that_the_runner_gives_no_more_time_hears_of_it() {
    let host = host("");
    host.driver_does(
        "cleanup",
        &format!(
            "trap 'echo heard; exit 4' TERM; {}",
            host.gate("in").replace("sleep 0.02", "sleep 0.02 & wait $!")
        ),
    );
    let job = host.job(1).prepared();
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    host.until_reached("in");
    assert_eq!(host.holders(), [1]);
    cleanup.term();
    cleanup.end().with_code(4).with_text(&["heard\n"]);
    host.is_clean_soon();
}

#[test]
fn a_killed_cleanup_stage_leaves_the_drivers_cleanup_to_the_keeper() {
    let host = host("");
    host.driver_does("cleanup", &format!("{}{}", host.gate("in"), host.notes_holders("holders")));
    let job = host.job(1).prepared();
    let cleanup = Stage::start(job.command(&["cleanup"]), false);
    host.until_reached("in");
    cleanup.kill();
    assert_eq!(cleanup.end().signal, Some(9));
    host.open("in");
    eventually("the lock is free", || host.holders().is_empty());
    assert_eq!((host.driver_called("cleanup"), host.noted_holders("holders")), (1, vec![1]));
    host.is_clean_soon();
}

#[test]
fn what_the_driver_leaves_behind_is_there_for_its_cleanup_and_then_goes_by_the_policy() {
    for survivors in ["kill", "leave"] {
        let host = Host::local(&format!("{}\nsurvivors: {survivors}", settings("")));
        host.driver_does(
            "prepare",
            &format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("left", "$!")),
        );
        host.driver_does("cleanup", &format!("kill -0 $(cat {}/left) && echo there", host.path().display()));
        let job = host.job(1).prepared();
        let left = host.told("left");
        job.finish().with_text(&["there\n"]);
        assert_eq!(left.lives(), survivors == "leave");
        left.signal(rustix::process::Signal::KILL);
        host.is_clean_soon();
    }
}

#[test]
fn wait_waits_for_what_is_left_after_the_drivers_cleanup() {
    let host = Host::local(&format!("{}\nsurvivors: wait", settings("")));
    let lines = format!("({}) </dev/null >/dev/null 2>&1 &", host.gate("left").replace('\n', "; "));
    host.driver_does("prepare", &lines);
    let job = host.job(1).prepared();
    host.until_reached("left");
    let mut cleanup = Stage::start(job.command(&["cleanup"]), false);
    eventually("the driver's cleanup is over", || job.keeper_log().contains("by themselves"));
    assert!(cleanup.runs());
    assert_eq!((host.driver_called("cleanup"), host.holders()), (1, vec![1]));
    host.open("left");
    cleanup.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn a_script_that_still_runs_at_cleanup_is_ended_before_the_drivers_cleanup() {
    let host = host("");
    let job = host.job(1).prepared();
    let script = job.raw_script(&format!("{}sleep 600", host.tells("script", "$$")));
    let run = Stage::start(job.command(&["run", &script, "build_script"]), false);
    let script = host.told("script");
    host.driver_does("cleanup", &format!("kill -0 {} || echo ended before", script.pid));
    job.finish().with_text(&["ended before\n"]);
    assert!(run.end().code != Some(0));
    host.is_clean_soon();
}
