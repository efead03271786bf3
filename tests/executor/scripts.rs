//! Scripts: they run as under the runner's own shell executor.

use std::time::{Duration, Instant};

use crate::harness::{Host, Job, eventually, lives};

fn prepared(host: &Host) -> Job {
    let job = host.job(1);
    assert_eq!(job.prepare().end().0, Some(0));
    job
}

#[test]
fn exit_codes_reach_the_runner_anew_at_each_failure() {
    let host = Host::new("");
    let job = prepared(&host);
    assert_eq!(job.run("a_new_stage", "exit 0").end().0, Some(0));
    for (script, code) in [("exit 42", "42"), ("exit 1", "1"), ("kill -9 $$", "137")] {
        assert_eq!(job.run("build_script", script).end().0, Some(1), "{script}");
        assert_eq!(job.exit_code(), code, "{script}");
    }
    job.cleanup();
    host.nothing_is_left();
}

#[test]
fn output_keeps_its_bytes_and_its_order() {
    let host = Host::new("");
    let job = prepared(&host);
    let script = "for i in $(seq 2000); do echo out $i; echo err $i >&2; done; printf end";
    let (code, said) = job.run("build_script", script).end();
    let expected: String = (1..=2000).map(|i| format!("out {i}\nerr {i}\n")).collect::<String>() + "end";
    assert_eq!((code, said == expected), (Some(0), true));
    let (_, said) = job.run("build_script", "head -c 3000000 /dev/zero | tr '\\0' x").end();
    assert_eq!(said.len(), 3_000_000);
    job.cleanup();
    host.nothing_is_left();
}

#[test]
fn a_script_sees_its_lock_and_nothing_of_the_driver() {
    let host = Host::new("");
    let job = prepared(&host);
    let (_, said) = job.run("build_script", "env; echo fds: $(ls /proc/$$/fd | tr '\\n' ' '); cat").end();
    assert!(said.contains("PIPELINE_LOCK_NAME=git.example/shop/web\n"), "{said}");
    assert!(said.contains("PIPELINE_LOCK_FENCE=1"), "{said}");
    for hidden in ["CUSTOM_ENV_", "AWS_", "JOB_RESPONSE_FILE", "PIPELINE_LOCK_STATE", "BUILD_EXIT_CODE_FILE"]
    {
        assert!(!said.contains(hidden), "{hidden} in {said}");
    }
    job.cleanup();
    host.nothing_is_left();
}

#[test]
fn what_a_script_leaves_behind_holds_no_stage_up_and_ends_at_cleanup() {
    let host = Host::new("");
    let job = prepared(&host);
    let started = Instant::now();
    let (code, _) = job.run("build_script", "setsid sleep 7654321 & disown; echo begun").end();
    assert_eq!(code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    eventually("it lives on over the stages", || lives("sleep 7654321"));
    assert_eq!(job.run("after_script", "true").end().0, Some(0));
    assert!(lives("sleep 7654321"));
    let cleanup = job.cleanup();
    assert!(!lives("sleep 7654321"), "cleanup ends it before it gives the lock back");
    assert!(String::from_utf8_lossy(&cleanup.stderr).contains("sleep"));
    host.nothing_is_left();
}
