//! Jobs from their first stage to their last.

use std::{fs, thread};

use rustix::process::Signal;

use crate::{
    harness::{Host, Version, eventually},
    on_both_stores,
    runner::Outcome,
};

/// The stages of a plain job, by a runner of v19.
const STAGES: [&str; 7] = [
    "prepare_script",
    "get_sources",
    "clear_worktree",
    "restore_cache",
    "build_script",
    "after_script",
    "cleanup_file_variables",
];

on_both_stores! {
    a_job_of_many_stages_holds_its_lock_over_all_of_them
    jobs_that_come_at_once_never_run_at_once
}

fn a_job_of_many_stages_holds_its_lock_over_all_of_them(host: &Host) {
    let scripts: Vec<(&str, String)> =
        STAGES.iter().map(|stage| (*stage, format!("echo at {stage} $PIPELINE_LOCK_FENCE"))).collect();
    let scripts: Vec<(&str, &str)> = scripts.iter().map(|(stage, lines)| (*stage, lines.as_str())).collect();
    let report = host.job(1).run_by_the_runner(&scripts);
    assert_eq!((report.outcome, report.tries), (Outcome::Success, 1), "{}", report.log);
    let said: Vec<&str> = report.log.lines().filter(|line| line.starts_with("at ")).collect();
    assert_eq!(said.len(), STAGES.len(), "{}", report.log);
    let fences: Vec<&str> = said.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert!(fences.iter().all(|fence| *fence == fences[0] && !fence.is_empty()), "one grant: {fences:?}");
    assert_eq!(report.warnings, "");
    host.is_clean_soon();
}

fn jobs_that_come_at_once_never_run_at_once(host: &Host) {
    let room = host.path().join("room").display().to_string();
    let lines = format!("mkdir {room}\nsleep 0.05\nrmdir {room}\necho $PIPELINE_LOCK_FENCE >>{room}.fences");
    thread::scope(|scope| {
        for id in 1..=6 {
            let (job, lines) = (host.job(id), &lines);
            scope.spawn(move || {
                let report = job.run_by_the_runner(&[("build_script", lines)]);
                assert_eq!((report.outcome, report.tries), (Outcome::Success, 1), "{}", report.log);
            });
        }
    });
    let fences = fs::read_to_string(format!("{room}.fences")).unwrap();
    let fences: Vec<u64> = fences.lines().map(|line| line.parse().unwrap()).collect();
    assert!(fences.len() == 6 && fences.is_sorted_by(|a, b| a < b), "they only grow: {fences:?}");
    host.is_clean_soon();
}

#[test]
fn a_failed_script_has_its_exit_code_and_its_after_script() {
    for (version, code) in [(Version::V14, 1), (Version::V17, 1), (Version::V19, 42)] {
        let host = Host::local("");
        let job = host.job(1).of_version(version);
        let scripts = [
            ("build_script", "exit 42"),
            ("archive_cache", "echo never"),
            ("after_script", "echo after; exit 3"),
            ("upload_artifacts_on_failure", "echo uploaded"),
        ];
        let report = job.run_by_the_runner(&scripts);
        assert_eq!(report.outcome, Outcome::Failed(code), "{version:?}: {}", report.log);
        assert!(report.log.contains("after\n") && report.log.contains("uploaded"), "{}", report.log);
        assert!(!report.log.contains("never"), "{}", report.log);
        host.is_clean_soon();
    }
}

#[test]
fn a_job_whose_wait_is_over_is_not_tried_again() {
    let host = Host::local("wait: 1s");
    let holder = host.job(1).prepared();
    let report = host.job(2).run_by_the_runner(&[("build_script", "echo never")]);
    assert_eq!((report.outcome, report.tries), (Outcome::Failed(1), 1), "{}", report.log);
    assert_eq!(host.queue(), [0; 0]);
    holder.finish();
    host.is_clean_soon();
}

#[test]
fn a_failure_of_ours_is_tried_three_times_and_leaves_nothing() {
    let host = Host::local("");
    host.write("config.yaml", &format!("state: {}/state\nleese: 60s\n", host.path().display()));
    let report = host.job(1).run_by_the_runner(&[("build_script", "echo never")]);
    assert_eq!((report.outcome, report.tries), (Outcome::SystemFailure, 3), "{}", report.log);
    assert_eq!(report.log.matches("leese").count(), 3, "{}", report.log);
    host.nothing_is_left();
}

#[test]
fn a_job_whose_prepare_dies_gets_the_lock_at_its_next_try_before_those_behind_it() {
    let host = Host::local("");
    let holder = host.job(1).prepared();
    thread::scope(|scope| {
        let retried = host.job(2);
        let retried = scope
            .spawn(move || retried.run_by_the_runner(&[("build_script", "echo run $PIPELINE_LOCK_FENCE")]));
        host.until_queued(&[2]);
        let behind = host.job(3);
        let behind = scope
            .spawn(move || behind.run_by_the_runner(&[("build_script", "echo run $PIPELINE_LOCK_FENCE")]));
        host.until_queued(&[2, 3]);
        let entry = "CUSTOM_ENV_CI_JOB_ID=2";
        let prepare = host
            .processes()
            .into_iter()
            .find(|process| process.has(entry) && process.args().contains(&"prepare".into()));
        let prepare = prepare.expect("it waits");
        prepare.signal(Signal::KILL);
        eventually("it is tried again", || {
            host.processes().iter().any(|process| {
                process.has(entry) && process.pid != prepare.pid && process.args().contains(&"prepare".into())
            })
        });
        assert_eq!(host.queue(), [2, 3]);
        holder.finish();
        let (retried, behind) = (retried.join().unwrap(), behind.join().unwrap());
        assert_eq!((retried.outcome, retried.tries), (Outcome::Success, 2), "{}", retried.log);
        assert_eq!((behind.outcome, behind.tries), (Outcome::Success, 1), "{}", behind.log);
        let fence = |log: &str| -> u64 {
            let line = log.lines().find_map(|line| line.strip_prefix("run "));
            line.expect("it ran").parse().unwrap()
        };
        assert!(fence(&retried.log) < fence(&behind.log), "the place was kept");
    });
    host.is_clean_soon();
}
