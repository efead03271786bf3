//! Jobs that run as the keeper's own user, and mean it ill. They can end their own job at any time, and then they die
//! before their lock goes.

use std::fs;

use pipeline_lock::keeper::Ask;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    attacker::{connect, keeper, keepers_folder},
    harness::{Attempt, Host, LOCK, Process, Stage, eventually},
};

/// A job's script with a child that has left its group, its parents and its environment.
fn with_a_stray(host: &Host, job: &Attempt) -> (Stage, [Process; 2]) {
    let stray = format!("{}exec env -i sleep 600", host.tells("stray", "$$"));
    let lines = format!(
        "setsid bash -c '{stray}' </dev/null >/dev/null 2>&1 &\n{}sleep 600",
        host.tells("script", "$BASHPID")
    );
    let run = job.run("build_script", &lines);
    let processes = [host.told("script"), host.told("stray")];
    (run, processes)
}

/// Looks who lives at the first moment at which the lock is free.
#[track_caller]
fn dead_before_the_lock_goes(host: &Host, processes: [Process; 2]) {
    eventually("the lock is free", || {
        let lived = processes.iter().any(|process| process.lives());
        let free = host.status_of(LOCK)["holders"] == Value::Array(vec![]);
        assert!(
            !free || processes.iter().all(|process| !process.lives()) || !lived,
            "the lock went before the job"
        );
        free
    });
    assert!(processes.iter().all(|process| !process.lives()));
}

#[test]
fn a_job_that_has_its_keeper_give_the_lock_back_is_ended_first() {
    for ask in [Ask::End, Ask::Leave, Ask::Yield] {
        let host = Host::local("");
        let job = host.job(1).prepared();
        let (run, processes) = with_a_stray(&host, &job);
        let is_yield = matches!(ask, Ask::Yield);
        connect(&host, &job).ask(&ask, &[]).unwrap();
        if is_yield {
            // The hold is left to a next try, and goes with cleanup.
            eventually("the job is ended", || processes.iter().all(|process| !process.lives()));
        } else {
            dead_before_the_lock_goes(&host, processes);
        }
        assert_ne!(run.end().code, Some(0), "such a job does not succeed");
        let late = job.script_ends("echo never");
        assert!(late.code != Some(0) && !late.text().contains("never\n"), "{}", late.text());
        job.finish();
        if !is_yield {
            host.is_clean_soon();
        }
    }
}

#[test]
fn a_job_that_kills_or_stops_its_keeper_is_ended_with_it() {
    for signal in [Signal::KILL, Signal::TERM] {
        let host = Host::local("");
        let job = host.job(1).prepared();
        let (run, processes) = with_a_stray(&host, &job);
        keeper(&job).signal(signal);
        if signal == Signal::TERM {
            assert!(processes[0].lives(), "a keeper that is told to end waits for its job");
            assert_eq!(host.holders(), [1]);
            run.term();
        }
        assert_ne!(run.end().code, Some(0));
        job.finish();
        assert!(processes.iter().all(|process| !process.lives()));
        host.is_clean_soon();
    }
}

#[test]
fn a_job_that_removes_the_keepers_files_still_ends_before_its_lock_goes() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let (run, processes) = with_a_stray(&host, &job);
    fs::remove_dir_all(keepers_folder(&host, &job).path()).unwrap();
    let waits = host.job(2).attempt();
    let waiting = waits.prepare();
    host.until_queued(&[2]);
    assert!(processes.iter().all(|process| process.lives()));
    run.term();
    assert_ne!(run.end().code, Some(0));
    // Cleanup finds nothing to go by; the keeper sees that the job's own folder is gone.
    job.finish();
    waiting.end().with_code(0);
    assert!(processes.iter().all(|process| !process.lives()), "the lock went before the job");
    waits.finish();
    host.is_clean_soon();
}
