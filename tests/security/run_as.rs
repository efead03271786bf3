//! Jobs of another user than the runner's (`run_as`), which is what parts a job from its keeper.

use std::fs;

use pipeline_lock::keeper::{Ask, Connection};

use crate::{
    attacker::{as_nobody, keeper, keepers_folder, mode},
    harness::{Host, eventually},
};

#[test]
fn a_job_reaches_nothing_by_which_its_lock_could_go() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let folder = keepers_folder(&host, &job);
    let (state, store) = (host.path().join("state"), host.path().join("locks.db"));
    let presence = host.holds().join(job.token());
    let keeper = keeper(&job).pid;
    let attempts = [
        format!("kill -9 {keeper}"),
        format!("kill -STOP {keeper}"),
        "kill -9 $PPID".to_owned(),
        format!("cat /proc/{keeper}/environ"),
        format!("cat /proc/{keeper}/mem"),
        format!("ls /proc/{keeper}/fd/"),
        format!("cat /proc/{keeper}/root/etc/shadow"),
        format!("echo 1000 >/proc/{keeper}/oom_score_adj"),
        format!("cat {}", folder.socket().display()),
        format!("ls {}", folder.path().display()),
        format!("rm -rf {}", state.display()),
        format!("mv {} {}.x", state.display(), state.display()),
        format!("echo x >{}", presence.display()),
        format!("rm {}", presence.display()),
        format!("mkdir {}/x", host.path().display()),
        format!("cat {}", store.display()),
        format!("ln -s /etc/passwd {}/jobs/x", state.display()),
        "for f in $(find /sys/fs/cgroup -name cgroup.procs -writable 2>/dev/null | grep -v /user/ | head -3); do echo $BASHPID >$f && exit 0; done; false".into(),
        "ls /proc/self/fd | grep -qvE '^[0123]$|^255$'".into(),
    ];
    let lines: String = attempts
        .iter()
        .map(|line| {
            format!(
                "if ({line}) >/dev/null 2>&1; then echo \"got: {}\"; fi\n",
                line.replace(['"', '$', '`', '\\'], "_")
            )
        })
        .collect();
    let ended = job.script_ends(&lines).with_code(0);
    assert_eq!(ended.text(), "");
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_process_of_the_jobs_user_gets_no_word_with_the_keeper() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let job = host.job(1).prepared();
    let folder = keepers_folder(&host, &job);
    assert!(as_nobody(|| Connection::open(&folder)).is_err(), "the folder is closed");
    for path in [host.path().join("state"), host.path().join("state/jobs"), folder.path().to_owned()] {
        mode(&path, 0o777);
    }
    mode(&folder.socket(), 0o777);
    let told = as_nobody(|| {
        let connection = Connection::open(&folder).expect("the way is open now");
        let _ = connection.ask(&Ask::End, &[]);
        matches!(connection.hear(), Ok(Some(_)))
    });
    assert!(!told, "the keeper answers another user");
    job.script_ends("true").with_code(0);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn jobs_of_one_user_can_end_each_other_and_still_no_lock_goes_early() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let victim = host.job(1).prepared();
    let script = host.tells("gates/victim", "$BASHPID") + "sleep 600";
    let run = victim.run("build_script", &script);
    let process = host.told("gates/victim");
    let other = host.job(2).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/other").prepared();
    other.script_ends(&format!("kill -9 {}", process.pid)).with_code(0);
    assert_ne!(run.end().code, Some(0));
    eventually("it is dead", || !process.lives());
    assert_eq!(host.holders(), [1], "the lock is the job's until its cleanup");
    victim.finish();
    other.finish();
    host.is_clean_soon();
}

#[test]
fn what_a_job_plants_in_shared_folders_changes_nothing_of_roots() {
    let Some(host) = Host::running_as_another_user("") else { return };
    let victim = host.path().join("victim");
    fs::write(&victim, "as it was").unwrap();
    let job = host.job(1).prepared();
    let gates = host.path().join("gates");
    // The places that a job of this user can write to, and that root's stages might: the folder for temporary files.
    let lines = format!(
        "cd {gates}; for name in command keeper.log keeper.json deadline socket pipeline-lock build_exit_code response.json script; do\n\
         ln -s {victim} $name; ln -s {victim} /tmp/$name-{token} 2>/dev/null; done; exit 7",
        gates = gates.display(),
        victim = victim.display(),
        token = job.token(),
    );
    job.script_ends(&lines).with_code(1);
    let told = fs::read_to_string(job.dir.join("build_exit_code")).unwrap();
    assert_eq!(told.trim(), "7");
    job.finish();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    for entry in fs::read_dir("/tmp").unwrap().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&job.token()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    host.is_clean_soon();
}
