//! What runs a job's scripts: other shells, a command before the shell.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::harness::{Attempt, Ended, Host, Process, Stage, eventually};

/// The `run` stage's command for a script that the runner would write for PowerShell.
fn powershell(job: &Attempt, text: &str) -> Command {
    let script = job.raw_script(text);
    fs::rename(&script, format!("{script}.ps1")).unwrap();
    job.command(&["run", &format!("{script}.ps1"), "build_script"])
}

/// A program that stands in for pwsh: it tells its arguments and runs the script by bash.
fn with_a_pwsh(host: &Host, command: &mut Command) {
    let bin = host.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = bin.join("pwsh");
    fs::write(&program, "#!/bin/bash\necho \"pwsh $*\"\nexec bash \"${@: -1}\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
}

fn ends(command: Command) -> Ended {
    Stage::start(command, false).end()
}

#[test]
fn powershell_scripts_are_run_by_pwsh_as_the_runner_does_it() {
    for more in ["", "shell: pwsh"] {
        let host = Host::local(more);
        let job = host.job(1).prepared();
        let mut command = powershell(&job, "echo scripted; exit 7");
        with_a_pwsh(&host, &mut command);
        let ended = ends(command).with_code(1);
        let said = ended.text();
        assert!(
            said.starts_with("pwsh -NoProfile -NonInteractive -ExecutionPolicy Bypass -File /"),
            "{said}"
        );
        assert!(said.contains("/script.ps1\nscripted\n"), "{said}");
        assert_eq!(job.exit_code(), Some(7));
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_host_without_pwsh_says_so() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let mut command = powershell(&job, "exit 0");
    command.env("PATH", host.path());
    ends(command).with_code(2).with_text(&["`pwsh` can't be started", "is it installed"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_that_does_not_fit_the_shell_of_the_file_fails_clearly() {
    for (more, part) in
        [("shell: pwsh", "sends scripts for a POSIX shell"), ("shell: dash", "sends scripts for bash")]
    {
        let host = Host::local(more);
        let job = host.job(1).prepared();
        job.script_ends("true").with_code(2).with_text(&[part, "config.toml"]);
        job.finish();
        host.is_clean_soon();
    }
    let host = Host::local("shell: bash");
    let job = host.job(1).prepared();
    ends(powershell(&job, "exit 0")).with_code(2).with_text(&["sends PowerShell scripts", "shell: pwsh"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_login_shell_reads_the_users_profile_and_the_default_one_does_not() {
    for (more, said) in [("", "unset\n"), ("shell: [bash, --login]", "from the profile\n")] {
        let host = Host::local(more);
        fs::write(host.path().join("home/.profile"), "PROFILED='from the profile'\n").unwrap();
        let job = host.job(1).prepared();
        assert_eq!(job.script_ends("echo ${PROFILED-unset}").with_code(0).text(), said);
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn sh_runs_the_scripts_that_the_runner_writes_for_it() {
    let host = Host::local("shell: sh");
    let job = host.job(1).prepared();
    let script = job.raw_script("#!/usr/bin/env sh\n\ntrap 'exit 1' TERM\n: | eval 'echo $0; exit 4'\n");
    let ended = ends(job.command(&["run", &script, "build_script"])).with_code(1);
    assert_eq!((ended.text().trim_end(), job.exit_code()), (script.as_str(), Some(4)));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_prefix_runs_the_shell_and_what_the_job_leaves_behind_still_ends_with_it() {
    let host = Host::local("prefix: [env, PREFIXED=yes, nice, -n, '7']");
    let job = host.job(1).prepared();
    let lines = format!(
        "echo $PREFIXED $(nice); cat; setsid sleep 600 >/dev/null & {}exit 9",
        host.tells("left", "$!")
    );
    let nice = Command::new("nice").output().unwrap().stdout;
    let nice: i32 = String::from_utf8(nice).unwrap().trim().parse().unwrap();
    assert_eq!(job.script_ends(&lines).with_code(1).text(), format!("yes {}\n", (nice + 7).min(19)));
    assert_eq!(job.exit_code(), Some(9));
    let left = host.told("left");
    job.finish();
    assert!(!left.lives());
    host.is_clean_soon();
}

#[test]
fn a_canceled_script_below_a_prefix_ends() {
    let host = Host::local("prefix: [nice]");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("{}sleep 600", host.tells("shell", "$BASHPID")));
    let shell: Process = host.told("shell");
    run.term();
    run.end().with_code(1);
    eventually("the script is ended", || !shell.lives());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_prefix_that_is_not_there_fails_the_stage_clearly() {
    let host = Host::local("prefix: [no-such-program]");
    let job = host.job(1).prepared();
    job.script_ends("true")
        .with_code(2)
        .with_text(&["`no-such-program` can't be started", "is it installed"]);
    job.finish();
    host.is_clean_soon();
}
