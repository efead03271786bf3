//! Scripts as another user than the runner's. Only root can do that: elsewhere these tests are not run, and say so.

use std::{fs, os::unix::fs::MetadataExt};

use rustix::process::Signal;

use crate::harness::{Host, NOBODY, NOBODYS_ID, Process, Stage, eventually};

/// A line that tells the number of a process in a place that the other user may write to.
fn tells(host: &Host, name: &str, pid: &str) -> String {
    host.tells(&format!("gates/{name}"), pid)
}

#[test]
fn a_script_is_the_users_in_all_that_the_system_knows() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let lines = "id -un; id -u; id -G; grep -E '^(Uid|Gid|CapEff|Groups)' /proc/self/status | tr '\\t' ' '\n\
        echo $HOME $USER $LOGNAME $SHELL; pwd; umask; cat";
    let ended = job.script_ends(lines).with_code(0);
    let group = "65534";
    let expected = format!(
        "{NOBODY}\n{NOBODYS_ID}\n{group}\nUid: {NOBODYS_ID} {NOBODYS_ID} {NOBODYS_ID} {NOBODYS_ID}\nGid: {group} {group} {group} {group}\n\
         Groups: {group} \nCapEff: 0000000000000000\n/nonexistent {NOBODY} {NOBODY} /usr/sbin/nologin\n/\n0022\n"
    );
    assert_eq!(ended.text(), expected);
    job.script_ends("exit 42").with_code(1);
    assert_eq!(job.exit_code(), Some(42));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_reaches_neither_the_keeper_nor_anything_of_the_runners() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let keeper = job.keeper();
    let state = host.path().join("state").display().to_string();
    let attempts = [
        format!("kill -9 {}", keeper.pid),
        format!("cat /proc/{}/environ", keeper.pid),
        "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -q ^AWS_".to_owned(),
        "env | grep -E '^(AWS_|CUSTOM_ENV_|PIPELINE_LOCK_(TOKEN|STATE))'".to_owned(),
        format!("ls {state}"),
        format!("[ -e {state}/jobs/{}/socket ]", job.token()),
        format!("cat {}/response.json", job.dir.display()),
        format!("ls {}", job.dir.display()),
        format!("cat {}/locks.db", host.path().display()),
    ];
    let lines: String =
        attempts.iter().map(|line| format!("if {line} 2>/dev/null; then echo \"got: $_\"; fi\n")).collect();
    assert_eq!(job.script_ends(&lines).with_code(0).text(), "");
    assert!(keeper.lives());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn another_users_processes_end_at_cancel_and_at_cleanup() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    // It tells its number once it heeds no TERM and is in a session of its own.
    let deaf = format!("trap \"\" TERM; {}while true; do sleep 1; done", tells(&host, "deaf", "$$"));
    let lines = format!(
        "setsid bash -c '{deaf}' </dev/null >/dev/null 2>&1 &\nsleep 600 & {}wait",
        tells(&host, "below", "$!")
    );
    let run = job.run("build_script", &lines);
    let (deaf, below): (Process, Process) = (host.told("gates/deaf"), host.told("gates/below"));
    run.term();
    run.end().with_code(1);
    eventually("the script's group is ended", || !below.lives());
    assert!(deaf.lives());
    job.finish();
    assert!(!deaf.lives());
    host.is_clean_soon();
}

/// As a keeper that is not root's, of a job that runs something by sudo.
const MAY_NOT_KILL: [&str; 2] = ["setpriv", "--bounding-set=-kill"];

#[test]
fn who_may_not_end_the_processes_of_a_dead_keeper_does_not_get_its_lock() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let (dead, next) = (host.job(1).attempt(), host.job(2).attempt());
    dead.prepare_without_cgroup();
    dead.script_ends(&format!("sleep 600 >/dev/null 2>&1 & {}", tells(&host, "left", "$!"))).with_code(0);
    let left = host.told("gates/left");
    let waiting = next.start_without_cgroup(&MAY_NOT_KILL);
    host.until_queued(&[2]);
    dead.keeper().signal(Signal::KILL);
    eventually("it was tried", || {
        next.keeper_log().contains("processes of a dead holder can't be ended yet")
    });
    assert_eq!((host.holders(), host.queue()), (vec![1], vec![2]));
    left.signal(Signal::KILL);
    waiting.end().with_code(0);
    dead.finish();
    next.finish();
    host.is_clean_soon();
}

#[test]
fn of_processes_that_the_keeper_may_not_end_cleanup_tells_and_the_lock_stays_until_they_are_gone() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).attempt();
    job.start_without_cgroup(&MAY_NOT_KILL).end().with_code(0);
    job.script_ends(&format!("sleep 600 >/dev/null 2>&1 & {}", tells(&host, "left", "$!"))).with_code(0);
    let left = host.told("gates/left");
    let cleanup = Stage::start(job.command(&["cleanup"]), true);
    cleanup.says(&format!("can't be ended: sleep ({})", left.pid));
    assert_eq!(host.holders(), [1]);
    left.signal(Signal::KILL);
    let said = cleanup.end().with_code(0).text();
    assert!(said.contains("is released") && said.matches("can't be ended").count() == 1, "{said}");
    host.is_clean_soon();
}

#[test]
fn a_killed_keeper_leaves_another_users_processes_to_the_run_stage() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let run = job.run("build_script", &format!("setsid sleep 600 & {}wait", tells(&host, "away", "$!")));
    let away = host.told("gates/away");
    job.keeper().signal(rustix::process::Signal::KILL);
    run.end().with_code(2).with_text(&["keeper was killed"]);
    assert!(!away.lives());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn the_folders_that_the_file_names_are_made_for_the_user() {
    let Some(base) = Host::running_as_another_user("") else { return };
    let (builds, cache) = (base.path().join("ci/builds"), base.path().join("ci/cache"));
    let Some(host) = Host::running_as_another_user(&format!(
        "builds_dir: {}\ncache_dir: {}",
        builds.display(),
        cache.display()
    )) else {
        return;
    };
    let job = host.job(1).prepared();
    for dir in [&builds, &cache] {
        assert_eq!(fs::metadata(dir).unwrap().uid(), NOBODYS_ID);
    }
    assert_eq!(
        fs::metadata(base.path().join("ci")).unwrap().uid(),
        0,
        "only what the file names is given away"
    );
    let lines =
        format!("mkdir -p {0}/group/project; cd {0}/group/project; echo x >file; pwd", builds.display());
    job.script_ends(&lines).with_code(0).with_text(&["/builds/group/project\n"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_user_that_is_not_there_fails_prepare_with_the_way_out() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let file = fs::read_to_string(host.path().join("config.yaml")).unwrap();
    host.write("config.yaml", &file.replace("run_as: nobody", "run_as: no-such-user"));
    let job = host.job(1).attempt();
    job.prepare().end().with_code(2).with_text(&["no-such-user", "useradd"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_prefix_that_changes_the_user_gets_its_script_too() {
    if Host::running_as_another_user("").is_none() {
        return;
    }
    let host = Host::local("prefix: [setpriv, --reuid=nobody, --regid=65534, --clear-groups]");
    let job = host.job(1).prepared();
    let said = job.script_ends("id -u; setsid sleep 600 >/dev/null 2>&1 & echo $! ").with_code(0).text();
    let (uid, left) = said.trim_end().split_once('\n').unwrap();
    let left = Process::find(left.parse().unwrap()).expect("it lives");
    assert_eq!(uid, "65534");
    job.finish();
    assert!(!left.lives());
    host.is_clean_soon();
}

#[test]
fn powershell_scripts_of_another_user_are_refused_as_by_the_runner() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let script = job.raw_script("exit 0");
    fs::rename(&script, format!("{script}.ps1")).unwrap();
    let run = Stage::start(job.command(&["run", &format!("{script}.ps1"), "build_script"]), false);
    run.end().with_code(2).with_text(&["run_as", "PowerShell"]);
    job.finish();
    host.is_clean_soon();
}
