//! Scripts run as under the runner's own shell executor.

use std::{collections::BTreeMap, process::Command};

use rustix::process::Signal;

use crate::harness::{Attempt, Ended, Host, Stage, Version};

/// Runs a script of any text, without the runner's frame around it.
fn raw(job: &Attempt, text: &str) -> Ended {
    Stage::start(job.command(&["run", &job.raw_script(text), "build_script"]), false).end()
}

#[test]
fn exit_codes_reach_the_runner_anew_at_each_failure() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    job.script_ends("exit 0").with_code(0);
    assert_eq!(job.exit_code(), None);
    for code in [1, 42, 255, 1] {
        job.script_ends(&format!("exit {code}")).with_code(1);
        assert_eq!(job.exit_code(), Some(code));
    }
    job.run("after_script", "true").end().with_code(0);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn runners_without_a_file_for_exit_codes_get_the_failure_alone() {
    for version in [Version::V14, Version::V17] {
        let host = Host::local("");
        let job = host.job(1).of_version(version).prepared();
        job.script_ends("exit 42").with_code(1);
        job.script_ends("exit 0").with_code(0);
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_script_that_a_signal_ended_is_the_jobs_failure() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    for (script, code) in [("kill -9 $$", 137), ("kill -SEGV $BASHPID", 139), ("kill -9 $BASHPID", 137)] {
        job.script_ends(script).with_code(1);
        assert_eq!(job.exit_code(), Some(code), "{script}");
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_has_nothing_to_read() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    assert_eq!(raw(&job, "cat; readlink /proc/$$/fd/0").with_code(0).text(), "/dev/null\n");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_begins_in_the_stages_folder_with_its_mask() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let script = job.raw_script("pwd; umask; touch made; stat -c %a made");
    let inner = job.command(&["run", &script, "build_script"]);
    let mut outer = Command::new("sh");
    outer.args(["-c", "umask 027; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    outer
        .env_clear()
        .envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .current_dir(&job.dir);
    let ended = Stage::start(outer, false).end().with_code(0);
    assert_eq!(ended.text(), format!("{}\n0027\n640\n", job.dir.display()));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_has_no_open_file_but_the_three() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    // The fourth is the folder that `ls` reads.
    assert_eq!(raw(&job, "exec ls /proc/self/fd").with_code(0).text(), "0\n1\n2\n3\n");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_leads_a_process_group_of_its_own_without_any_signal_blocked_or_ignored() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let text = "ps -o pgid= -p $$ | tr -d ' '; echo $$; exec grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let said = raw(&job, text).with_code(0).text();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], lines[1], "{said}");
    assert_eq!(lines[2], "SigBlk:\t0000000000000000");
    // The C library's own two signals (32 and 33) are ignored below whoever starts a process by posix_spawn.
    let ignored = u64::from_str_radix(lines[3].rsplit('\t').next().unwrap(), 16).unwrap();
    assert_eq!(ignored & !(3 << 31), 0, "{said}");
    job.finish();
    host.is_clean_soon();
}

/// What `env -0` says.
fn environment(said: &Ended) -> BTreeMap<String, String> {
    let text = said.text();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_script_sees_its_lock_and_nothing_of_the_driver() {
    let host = Host::local("");
    let job = host.job(1).variable("DEPLOY_TO", "eu").prepared();
    let seen = environment(&raw(&job, "env -0").with_code(0));
    assert_eq!(seen["PIPELINE_LOCK_NAME"], "gitlab.example.com/shop/web");
    let fence: u64 = seen["PIPELINE_LOCK_FENCE"].parse().unwrap();
    assert_eq!(host.status_of("gitlab.example.com/shop/web")["holders"][0]["fence"], fence);
    for (key, value) in [("HOME", host.path().join("home").display().to_string()), ("USER", "runner".into())]
    {
        assert_eq!(seen[key], value);
    }
    let ours = |key: &&String| key.starts_with("PIPELINE_LOCK_");
    let known = ["PIPELINE_LOCK_FENCE", "PIPELINE_LOCK_MARK", "PIPELINE_LOCK_NAME", "PIPELINE_LOCK_SLOT"];
    assert_eq!(seen.keys().filter(ours).collect::<Vec<_>>(), known);
    for key in seen.keys() {
        let hidden = key.starts_with("CUSTOM_ENV_")
            || key.starts_with("AWS_")
            || [
                "JOB_RESPONSE_FILE",
                "BUILD_EXIT_CODE_FILE",
                "BUILD_FAILURE_EXIT_CODE",
                "SYSTEM_FAILURE_EXIT_CODE",
            ]
            .contains(&key.as_str());
        assert!(!hidden, "{key} is not the script's");
    }
    assert!(!seen.contains_key("CI_JOB_ID"), "the runner's script sets it itself");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn the_keeper_knows_nothing_of_the_jobs_variables() {
    let host = Host::local("");
    let job = host.job(1).variable("DEPLOY_TO", "eu").prepared();
    let keeper = job.keeper();
    for entry in ["CUSTOM_ENV_DEPLOY_TO=eu", "CUSTOM_ENV_DEPLOY_PASSWORD", "PIPELINE_LOCK_MARK"] {
        let environ = std::fs::read(format!("/proc/{}/environ", keeper.pid)).unwrap();
        assert!(!String::from_utf8_lossy(&environ).contains(entry), "{entry}");
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_variable_of_a_hundred_kilobytes_is_no_obstacle() {
    let host = Host::local("");
    let job = host.job(1).variable("LARGE", &"x".repeat(100 * 1024)).prepared();
    let large = "y".repeat(100 * 1024);
    let ended = job.script_ends(&format!("export LARGE={large}\nprintenv LARGE | wc -c")).with_code(0);
    assert_eq!(ended.text(), "102401\n");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_stage_of_any_name_is_run() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    for stage in ["prepare_script", "clear_worktree", "step_release", "a stage of 2031", ""] {
        job.run(stage, "echo run").end().with_code(0).with_text(&["run\n"]);
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_canceled_script_gets_the_signal_with_its_group_and_its_handlers_run() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    // The user's lines sit in a subshell: a TERM to the first shell alone would not end the sleep.
    let lines =
        format!("(trap '{} exit 7' TERM; {} sleep 600 & wait)", host.tells("handled", "$$"), host.gate("in"));
    host.open("in");
    let run = job.run("build_script", &lines);
    host.until_reached("in");
    run.term();
    run.end().with_code(1);
    crate::harness::eventually("the handler ran", || host.path().join("handled").exists());
    job.run("after_script", "echo after").end().with_code(0).with_text(&["after"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_second_term_kills_a_script_that_does_not_heed_the_first() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let trap = format!("trap '{}' TERM", host.tells("heard", "$$").trim_end());
    let lines = format!("{trap}\n{}while true; do sleep 600; done", host.tells("deaf", "$$"));
    let script = job.raw_script(&lines);
    let mut run = Stage::start(job.command(&["run", &script, "build_script"]), false);
    let deaf = host.told("deaf");
    run.term();
    assert_eq!(host.told("heard"), deaf);
    assert!(run.runs() && deaf.lives());
    run.term();
    run.end().with_code(1);
    assert_eq!(job.exit_code(), Some(137));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn quit_and_hangup_leave_a_job_alone() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("{}echo finished", host.gate("go")));
    host.until_reached("go");
    // systemd stops a runner by QUIT to all of its processes: finish what you have.
    for signal in [Signal::QUIT, Signal::HUP] {
        run.signal(signal);
    }
    host.open("go");
    run.end().with_code(0).with_text(&["finished"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_is_born_in_the_cgroup_of_its_job() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    if job.has_cgroup() {
        let groups = job.script_ends("cat /proc/$BASHPID/cgroup").with_code(0).text();
        assert!(groups.contains("/pipeline-lock-job-"), "{groups}");
    } else {
        eprintln!("NOT RUN: this test needs a host on which a keeper can make a cgroup v2");
    }
    job.finish();
    host.is_clean_soon();
}
