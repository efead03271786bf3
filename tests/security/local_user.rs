//! Another user of the same host, who is not root.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use pipeline_lock::keeper::{Ask, Connection};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{
    attacker::{as_nobody, keeper, keepers_folder, mode},
    harness::{Host, eventually},
};

/// What another user gets of a process: nothing, if it is empty.
fn got_of_process(pid: i32) -> Vec<String> {
    let mut got = Vec::new();
    for file in ["environ", "mem", "maps", "fd", "cwd", "root", "auxv", "stack"] {
        let path = format!("/proc/{pid}/{file}");
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(64).read_to_end(&mut bytes));
        if read.is_ok() || fs::read_link(&path).is_ok() || (file == "fd" && fs::read_dir(&path).is_ok()) {
            got.push(path);
        }
    }
    let process = Pid::from_raw(pid).unwrap();
    if kill_process(process, Signal::TERM).is_ok() {
        got.push("kill".into());
    }
    // SAFETY: it reads no memory of this process's.
    if unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) } == 0 {
        got.push("ptrace".into());
    }
    if let Ok(pidfd) = pidfd_open(process, PidfdFlags::empty()) {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open; what comes back is a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), 0, 0) };
        if let Ok(fd @ 0..) = i32::try_from(fd) {
            // SAFETY: the kernel has just made it for this process.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            got.push("pidfd_getfd".into());
        }
    }
    got
}

fn got_of_file(path: &Path) -> Vec<String> {
    let shown = path.display();
    let mut got = Vec::new();
    for (how, ok) in [
        ("read", File::open(path).is_ok()),
        ("write", fs::OpenOptions::new().append(true).open(path).is_ok()),
        ("list", fs::read_dir(path).is_ok()),
        ("remove", fs::remove_file(path).is_ok()),
        ("rename", fs::rename(path, path.with_extension("x")).is_ok()),
        ("connect", UnixStream::connect(path).is_ok()),
    ] {
        if ok {
            got.push(format!("{how} {shown}"));
        }
    }
    got
}

#[test]
fn another_user_reads_writes_and_reaches_nothing() {
    let Some(host) = Host::with_another_user("") else { return };
    let job = host.job(1).prepared();
    let script = format!("{}{}", host.tells("script", "$$"), host.gate("runs"));
    let run = job.run("build_script", &script);
    host.until_reached("runs");
    let folder = keepers_folder(&host, &job);
    let holds = host.holds();
    let files: Vec<PathBuf> = [
        host.path().join("state"),
        host.path().join("locks.db"),
        host.path().join("locks.db-wal"),
        host.path().join("locks.db.d"),
        holds.join(job.token()),
        folder.path().to_owned(),
        folder.socket(),
        folder.log(),
        folder.path().join("keeper.json"),
        folder.path().join("deadline"),
        job.dir.join("response.json"),
    ]
    .into();
    assert!(files.iter().all(|path| fs::symlink_metadata(path).is_ok()), "all of them are there: {files:?}");
    let pids = [keeper(&job).pid, run.process().pid, host.told("script").pid];
    let got = as_nobody(|| {
        let of_files = files.iter().flat_map(|path| got_of_file(path));
        of_files.chain(pids.into_iter().flat_map(got_of_process)).collect::<Vec<_>>()
    });
    assert!(got.is_empty(), "another user got {got:#?}");
    host.open("runs");
    run.end().with_code(0);
    job.finish();
    host.is_clean_soon();
}

/// The mark of a job's processes is its token: who knew it could mark processes of their own, for which its lock would wait.
#[test]
fn nothing_that_everybody_sees_tells_a_jobs_token() {
    let host = Host::dynamodb("");
    let job = host.job(1).prepared();
    let left = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("left", "$!"));
    job.script_ends(&left).with_code(0);
    let waits = host.job(2).attempt();
    let waiting = waits.prepare();
    host.until_queued(&[2]);
    let run = job.run("build_script", &host.gate("runs"));
    host.until_reached("runs");
    let processes = host.processes();
    let is =
        |word: &str| processes.iter().any(|process| process.args().get(1).is_some_and(|arg| arg == word));
    assert!(is("keeper") && is("sentinel"), "{processes:?}");
    for process in &processes {
        // The gate's own are brief: one that has ended tells nobody anything.
        let Ok(cgroups) = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)) else { continue };
        let shown = process.args().join(" ") + &cgroups;
        for token in [job.token(), waits.token()] {
            assert!(!shown.contains(&token), "everybody sees it: {shown}");
        }
    }
    host.open("runs");
    run.end().with_code(0);
    job.finish();
    waiting.end().with_code(0);
    waits.finish();
    host.is_clean_soon();
}

#[test]
fn the_keeper_refuses_another_user_whatever_the_sockets_mode() {
    let Some(host) = Host::with_another_user("") else { return };
    let job = host.job(1).prepared();
    let folder = keepers_folder(&host, &job);
    for path in [host.path().join("state"), host.path().join("state/jobs"), folder.path().to_owned()] {
        mode(&path, 0o755);
    }
    mode(&folder.socket(), 0o666);
    let heard = as_nobody(|| {
        let connection = Connection::open(&folder).expect("the way is open");
        // The keeper may have closed it already.
        let _ = connection.ask(&Ask::End, &[]);
        connection.hear().map(|told| told.map(|told| format!("{told:?}"))).ok().flatten()
    });
    assert_eq!(heard, None);
    let log = || fs::read_to_string(folder.log()).unwrap();
    eventually("the log tells", || log().contains("another user's connection was refused"));
    job.script_ends("true").with_code(0);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_stage_hands_nothing_to_a_keeper_of_another_user() {
    let Some(host) = Host::with_another_user("") else { return };
    let job = host.job(1).prepared();
    let folder = keepers_folder(&host, &job);
    let (socket, aside) = (folder.socket(), folder.path().join("aside"));
    fs::rename(&socket, &aside).unwrap();
    mode(&host.path().join("state"), 0o711);
    mode(&host.path().join("state/jobs"), 0o711);
    mode(folder.path(), 0o777);
    let listener = as_nobody(|| UnixListener::bind(&socket)).unwrap();
    let ended = job.script_ends("echo never").with_code(2);
    assert!(!ended.text().contains("never\n"), "{}", ended.text());
    let (mut stage, _) = listener.accept().unwrap();
    stage.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stage.write_all(b"\0\0\0\x0f{\"tell\":\"done\"}");
    let mut heard = Vec::new();
    stage.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"", "the stage said something");
    assert_eq!(host.holders(), [1], "the lock stays");
    fs::remove_file(&socket).unwrap();
    fs::rename(&aside, &socket).unwrap();
    job.finish();
    host.is_clean_soon();
}
