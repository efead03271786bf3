//! Root looks after the locks of a runner that is another user: it leaves nothing there that the runner can't use.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
};

use rustix::process::Signal;

use crate::harness::{Host, NOBODY, NOBODYS_ID, Stage, eventually};

/// What in `folder` and below it is not the runner's.
fn of_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let about = entry.metadata().expect("it is there");
        if about.uid() != NOBODYS_ID {
            found.push(entry.path().display().to_string());
        }
        if about.is_dir() {
            found.extend(of_others(&entry.path()));
        }
    }
    found
}

/// A host whose runner is another user, with the state folder in one of that user's; none where this is not root.
fn runner_of_another_user() -> Option<Host> {
    let host = Host::with_another_user("")?;
    let runners = host.path().join("runner");
    fs::create_dir(&runners).expect("the folder is writable");
    chown(&runners, Some(NOBODYS_ID), Some(NOBODYS_ID)).expect("it is root's");
    for file in ["config.yaml", "direct.yaml"] {
        host.write(file, &format!("state: {}/state\n", runners.display()));
    }
    Some(host)
}

#[test]
fn what_root_makes_in_the_state_folder_of_another_user_is_that_users() {
    let Some(host) = runner_of_another_user() else { return };
    let runners = host.path().join("runner");
    let commands: [&[&str]; 8] = [
        &["status"],
        &["reserve", "shop/test", "--reason", "the database moves"],
        &["acquire", "--name", "shop/prod"],
        &["unlock", "shop/prod", "--yes"],
        &["exec", "--name", "shop/prod", "--", "true"],
        &["history", "shop/prod"],
        &["release", "--name", "shop/test"],
        &["try", "--", "true"],
    ];
    for command in commands {
        host.run(command).with_code(0);
        assert_eq!(of_others(&runners), Vec::<String>::new(), "after {command:?}");
    }
    // A socket stays root's: nobody but root has anything to say there.
    let (runners, nobody) = (runners.display().to_string(), NOBODYS_ID.to_string());
    let meanwhile =
        ["exec", "--name", "shop/prod", "--", "find", &runners, "!", "-user", &nobody, "!", "-type", "s"];
    let found = host.run(&meanwhile).with_code(0);
    assert_eq!(found.text(), "", "while a command runs");
}

#[test]
fn what_a_killed_exec_of_roots_leaves_is_buried_by_the_runner() {
    let Some(host) = runner_of_another_user() else { return };
    let exec = Stage::start(
        host.command(&["exec", "--name", "shop/prod", "--", "sh", "-c", &host.gate("up")]),
        false,
    );
    host.until_reached("up");
    // Root's own processes are nobody else's to end.
    let all = host.processes();
    all.iter().for_each(|process| process.signal(Signal::STOP));
    all.iter().for_each(|process| process.signal(Signal::KILL));
    exec.end();
    let program = host.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_pipeline-lock"), &program).expect("the folder is writable");
    let mut runners = Command::new("setpriv");
    runners.args(["--reuid", NOBODY, "--regid", &NOBODYS_ID.to_string(), "--clear-groups"]).arg(program);
    let other = host.command(&["exec", "--name", "shop/test", "--", "true"]);
    runners.args(other.get_args()).env_clear().current_dir("/");
    runners.envs(other.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Stage::start(runners, false).end().with_code(0);
    let jobs = host.path().join("runner/state/jobs");
    eventually("its folder is gone", || fs::read_dir(&jobs).expect("it is there").next().is_none());
    assert_eq!(host.status_of("shop/prod")["holders"].as_array().map(Vec::len), Some(0));
}
