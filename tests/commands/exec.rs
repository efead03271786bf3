//! `exec`: a command under a lock.

use std::{io::Write, process::Stdio, time::Duration};

use rustix::process::Signal;

use crate::{
    caller::start,
    harness::{Host, LOCK, Process, Proxy, Stage, Store, endpoint, eventually, within},
};

/// `exec --name LOCK -- sh -c SCRIPT`.
fn shell(script: &str) -> [&str; 7] {
    ["exec", "--name", LOCK, "--", "sh", "-c", script]
}

fn holders(host: &Host) -> usize {
    host.status_of(LOCK)["holders"].as_array().unwrap().len()
}

fn waiters(host: &Host) -> usize {
    host.status_of(LOCK)["queue"].as_array().unwrap().len()
}

#[test]
fn a_commands_exit_code_is_execs() {
    let host = Host::local("");
    for code in [0, 1, 2, 42, 255] {
        host.run(&shell(&format!("exit {code}"))).with_code(code);
    }
    host.run(&shell("kill -9 $$")).with_code(137);
    host.run(&shell("kill -TERM $$")).with_code(143);
    host.is_clean_soon();
}

#[test]
fn a_command_that_is_not_there_is_127_and_one_that_cannot_be_run_126() {
    let host = Host::local("");
    host.run(&["exec", "--name", LOCK, "--", "no-such-command"])
        .with_code(127)
        .with_text(&["no-such-command"]);
    host.write("file", "no program");
    let file = host.path().join("file").display().to_string();
    host.run(&["exec", "--name", LOCK, "--", &file]).with_code(126).with_text(&[&file]);
    host.run(&["exec", "--name", LOCK, "--", "/"]).with_code(126);
    host.is_clean_soon();
}

#[test]
fn a_command_runs_under_its_lock_with_the_callers_streams() {
    let host = Host::local("");
    let script = format!(
        "echo out; echo err >&2; echo $PIPELINE_LOCK_NAME $PIPELINE_LOCK_FENCE; pwd; {}",
        host.gate("go")
    );
    let exec = start(&host, &shell(&script));
    host.until_reached("go");
    assert_eq!(holders(&host), 1);
    let fence = host.status_of(LOCK)["fence"].clone();
    host.open("go");
    let ended = exec.end().with_code(0);
    assert_eq!(ended.text(), format!("out\n{LOCK} {fence}\n{}\n", host.path().display()));
    assert_eq!(ended.error_text(), "err\n", "an uncontended exec says nothing of its own");
    host.is_clean_soon();
}

#[test]
fn a_command_reads_what_exec_is_given_to_read() {
    let host = Host::local("");
    let mut command = host.command(&["exec", "--name", LOCK, "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"some\0bytes").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"some\0bytes".as_slice()));
    host.is_clean_soon();
}

#[test]
fn the_second_waits_for_the_first_and_says_for_whom() {
    let host = Host::local("");
    let first = start(&host, &shell(&host.gate("first")));
    host.until_reached("first");
    let second = start(&host, &shell("echo second"));
    eventually("the second waits", || waiters(&host) == 1);
    host.open("first");
    first.end().with_code(0);
    let ended = second.end().with_code(0);
    assert_eq!(ended.text(), "second\n", "only the command writes to standard output");
    ended.with_text(&["Waiting for lock", "job sh, by runner", "place 1 of 1"]);
    host.is_clean_soon();
}

#[test]
fn without_waiting_a_held_lock_is_an_error_that_names_its_holder() {
    let host = Host::local("");
    let first = start(&host, &shell(&host.gate("first")));
    host.until_reached("first");
    let args = [&["exec", "--wait", "0"][..], &shell("echo never")[1..]].concat();
    let ended = host.run(&args).with_code(1).with_text(&[LOCK, "held by sh · runner"]);
    assert_eq!(ended.text(), "");
    let args = [&["exec", "--wait", "1s"][..], &shell("echo never")[1..]].concat();
    host.run(&args).with_code(1).with_text(&["not free within 1 s"]);
    host.open("first");
    first.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn signals_reach_the_command_and_its_end_is_execs() {
    let host = Host::local("");
    for (trap, code) in [("", 143), ("trap 'exit 7' TERM;", 7)] {
        let script = format!("{trap} {}sleep 600 & wait", host.tells("ready", "$$"));
        let exec = start(&host, &shell(&script));
        let shell = host.told("ready");
        exec.process().signal(Signal::TERM);
        exec.end().with_code(code);
        assert!(!shell.lives());
        std::fs::remove_file(host.path().join("ready")).unwrap();
        host.is_clean_soon();
    }
}

#[test]
fn a_signal_while_it_waits_leaves_the_queue() {
    let host = Host::local("");
    let first = start(&host, &shell(&host.gate("first")));
    host.until_reached("first");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let second = start(&host, &shell("echo never"));
        eventually("the second waits", || waiters(&host) == 1);
        second.process().signal(signal);
        assert_eq!(second.end().with_code(code).text(), "");
        assert_eq!(waiters(&host), 0);
    }
    host.open("first");
    first.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn what_a_command_leaves_behind_ends_before_the_lock_is_given_back() {
    let host = Host::local("");
    let left = format!("setsid sleep 600 >/dev/null 2>&1 & {}", host.tells("left", "$!"));
    let exec = start(&host, &shell(&(left + &host.gate("go"))));
    let left = host.told("left");
    host.until_reached("go");
    host.open("go");
    exec.end().with_code(0);
    assert!(!left.lives());
    host.is_clean_soon();
}

#[test]
fn a_killed_exec_takes_its_command_with_it() {
    let host = Host::local("");
    let exec = start(&host, &shell(&format!("{}sleep 600", host.tells("ready", "$$"))));
    let shell = host.told("ready");
    exec.kill();
    within(Duration::from_secs(4), "the command is ended", || !shell.lives());
    host.is_clean_soon();
}

#[test]
fn a_killed_keeper_costs_the_lock_and_ends_the_command() {
    let host = Host::local("");
    let exec = start(&host, &shell(&format!("{}sleep 600", host.tells("ready", "$$"))));
    let shell = host.told("ready");
    host.keepers()[0].signal(Signal::KILL);
    exec.end().with_code(4).with_text(&["keeper"]);
    assert!(!shell.lives());
    host.is_clean_soon();
}

/// A command that heeds no TERM, under a lock whose store is cut off by `cut`.
fn a_lost_lock_ends_the_command(cut: fn(&Proxy)) {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let host = Host::through(&table, &proxy.url, "");
    let script = format!("trap '' TERM; {}while true; do sleep 1; done", host.tells("ready", "$$"));
    let exec = start(&host, &shell(&script));
    let shell_process = host.told("ready");
    cut(&proxy);
    within(Duration::from_secs(9), "the command is dead before the lease ends", || !shell_process.lives());
    exec.end().with_code(4).with_text(&["lock"]);
    proxy.mend();
    host.run(&shell("echo next")).with_code(0).with_text(&["next\n"]);
    host.is_clean_soon();
}

#[test]
fn a_lock_that_is_lost_to_a_store_that_is_gone_ends_the_command() {
    a_lost_lock_ends_the_command(Proxy::cut);
}

#[test]
fn a_lock_that_is_lost_to_a_store_that_is_silent_ends_the_command() {
    a_lost_lock_ends_the_command(Proxy::silence);
}

#[test]
fn wrong_usage_is_2_and_a_missing_name_says_how_to_give_one() {
    let host = Host::local("");
    host.run(&["exec", "--name", LOCK]).with_code(2).with_text(&["CMD"]);
    host.run(&["exec", "--wait", "soon", "--", "true"]).with_code(2).with_text(&["soon"]);
    host.run(&["exec", "--name", LOCK, "--max-queue", "10001", "--", "true"]).with_code(2);
    host.run(&["watch", "--interval", "0"]).with_code(2).with_text(&["without a pause"]);
    host.run(&["history", LOCK, "-n", "0"]).with_code(2);
    host.run(&["status", "--table", "locks", "--region", "eu central"])
        .with_code(3)
        .with_text(&["no region's name"]);
    host.run(&["exec", "--", "true"]).with_code(2).with_text(&["--name"]);
    host.run(&["exec", "--name", "", "--", "true"]).with_code(3);
    host.run(&["exec", "--name", "a\nb", "--", "true"]).with_code(3);
    host.nothing_is_left();
}

#[test]
fn a_state_folder_that_cannot_be_made_is_3_with_its_place_and_its_cause_once() {
    let host = Host::local("");
    std::fs::write(host.path().join("file"), "").unwrap();
    let config = format!(
        "{{ store: {{ local: {{ path: {0}/locks.db }} }}, state: {0}/file/state }}",
        host.path().display()
    );
    std::fs::write(host.path().join("config.yaml"), config).unwrap();
    let ended = host.run(&shell("echo never")).with_code(3).with_text(&["file/state/jobs/", "key `state`"]);
    assert_eq!(ended.text(), "");
    assert_eq!(ended.error_text().matches("Not a directory").count(), 1, "{}", ended.error_text());
}

#[test]
fn a_file_that_cannot_be_used_is_3_with_its_place() {
    let host = Host::local("");
    host.write("config.yaml", "heartbaet: 3s\n");
    host.run(&shell("echo never")).with_code(3).with_text(&["config.yaml:1:1", "heartbeat"]);
}

#[test]
fn with_any_number_of_open_files_it_ends_and_leaves_nothing() {
    let host = Host::local("");
    for limit in 8..40 {
        let exec = host.command(&["exec", "--name", LOCK, "--", "true"]);
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(exec.get_program()).args(exec.get_args()).env_clear();
        command.envs(exec.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(host.path());
        let ended = Stage::start(command, false).end();
        assert!(ended.code.is_some_and(|code| [0, 3, 4, 126].contains(&code)), "{limit}: {ended:?}");
        // Without a descriptor for a pidfd the keeper looks twice a second whether its caller lives.
        host.is_clean_within(Duration::from_secs(3));
    }
}

#[test]
fn what_a_dead_keeper_ran_in_a_pid_namespace_ends_before_the_lock_goes_on_outside() {
    let host = Host::local("");
    let script = format!("touch {}; exec sleep 600", host.path().join("gates/up").display());
    let exec = host.command(&shell(&script));
    let mut command = std::process::Command::new("unshare");
    command.arg(if rustix::process::geteuid().is_root() { "-pf" } else { "-rpf" });
    command.args(["--mount-proc", "--kill-child", "sh", "-c", "\"$@\" & sleep 600", "sh"]);
    command.arg(exec.get_program()).args(exec.get_args()).env_clear();
    command.envs(exec.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(host.path());
    let _inside = Stage::start(command, false);
    eventually("the command runs", || host.path().join("gates/up").exists());
    let the = |word: &str| {
        let found =
            host.processes().into_iter().find(|process| process.args().get(1).is_some_and(|a| a == word));
        found.unwrap_or_else(|| panic!("no process with {word}"))
    };
    let (keeper, caller) = (the("keeper"), the("--config"));
    let marked: Vec<Process> =
        host.processes().into_iter().filter(|p| p.args() == ["sleep", "600"]).collect();
    caller.signal(Signal::STOP);
    keeper.signal(Signal::KILL);
    host.run(&["acquire", "--name", LOCK, "--wait", "20s"]).with_code(0);
    let living = marked.iter().filter(|process| process.lives()).count();
    // The one that `sh` waits for is none of the lock's.
    assert_eq!((marked.len(), living), (2, 1));
    host.run(&["release", "--name", LOCK]).with_code(0);
}

#[test]
fn who_is_refused_by_the_store_leaves_no_keeper_that_goes_on_asking_it() {
    let host = Host::new(&Store::Table("nobody-made-this-table".into()), "");
    let refused = host.run(&["exec", "--name", LOCK, "--", "true"]).with_code(3);
    refused.with_text(&["there is no such table"]);
    host.nothing_is_left();
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["there is no such table"]);
    job.cleanup().with_code(0);
    host.nothing_is_left();
}

#[test]
fn a_store_that_was_removed_under_a_running_command_gives_its_lock_to_nobody_else() {
    let host = Host::local("");
    let exec = start(&host, &shell(&host.gate("go")));
    host.until_reached("go");
    for file in ["locks.db", "locks.db-wal", "locks.db-shm"] {
        std::fs::remove_file(host.path().join(file)).unwrap();
    }
    host.run(&["exec", "--name", LOCK, "--wait", "0", "--", "true"])
        .with_code(3)
        .with_text(&["is gone, while processes that used it are alive"]);
    host.open("go");
    drop(exec);
}
