//! Being the parent of last resort for all that one's children start, and reaping what ends.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError, TryLockError};

use rustix::process::{
    Signal, WaitId, WaitIdOptions, WaitOptions, child_subreaper, kill_process, set_child_subreaper, wait,
    waitid,
};

use super::process::Pid;

/// Held by the thread that reaps while it does, and by another one that starts a child.
static REAPING: Mutex<()> = Mutex::new(());

/// What [`reap`] found.
#[derive(Debug, Default)]
pub struct Reaped {
    /// The children that had ended, in no order, and how.
    pub ended: Vec<(Pid, ExitStatus)>,
    /// Whether children are left that still run. If not, nothing that ever descended from this process lives,
    /// provided that it was the child subreaper all the time: that is exact, unlike any look at `/proc`.
    pub children_left: bool,
}

/// Makes this process the child subreaper: a descendant whose parent ends becomes its child, in whatever session or
/// process group it is (prctl(2), `PR_SET_CHILD_SUBREAPER`). Not inherited by children.
///
/// # Errors
/// What prctl(2) says.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(Pid::me().into()))?)
}

/// Reaps every child that has ended, without waiting for one.
///
/// It takes *any* child: in a process that uses it, nobody else can wait for one ([`std::process::Child`] and
/// tokio's would find theirs gone). To be called at every SIGCHLD. While [`unreaped`] is busy it reaps none, and is called
/// for by another SIGCHLD.
#[must_use]
pub fn reap() -> Reaped {
    let mut reaped = Reaped::default();
    let _guard = match REAPING.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Reaped { children_left: true, ..reaped },
    };
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                reaped.ended.push((pid.into(), ExitStatus::from_raw(status.as_raw())));
            }
            Ok(None) => {
                reaped.children_left = true;
                return reaped;
            }
            Err(rustix::io::Errno::INTR) => {}
            // ECHILD: there are none.
            Err(_) => return reaped,
        }
    }
}

/// Starts a child beside the thread that reaps, with nobody reaped meanwhile: [`std::process::Command`] waits itself for a
/// child that could not become its program, and panics where that is gone; and one that ends at once still has its id.
pub fn unreaped<T>(start: impl FnOnce() -> T) -> T {
    let guard = REAPING.lock().unwrap_or_else(PoisonError::into_inner);
    let started = start();
    drop(guard);
    // Who ended meanwhile was left at their own.
    let _ = kill_process(Pid::me().into(), Signal::CHILD);
    started
}

/// Whether this process is the child subreaper.
#[must_use]
pub fn is_subreaper() -> bool {
    matches!(child_subreaper(), Ok(Some(_)))
}

/// Whether it is certain, without a look at `/proc`, that no descendant of this process lives: it is the child
/// subreaper, and has no child. It must have become so before its first child was started.
#[must_use]
pub fn is_alone() -> bool {
    is_subreaper() && !has_children()
}

/// Kills every child of this process, `rounds` times: what a child starts and leaves becomes a child as well. Much quicker
/// than a look through `/proc`, so that it gets hold of one that ends as soon as it has started the next. To be called
/// by the thread that reaps, as the id of a child is its own until it is reaped.
///
/// # Errors
/// Where the kernel tells no children (`CONFIG_PROC_CHILDREN`), or there are too many open files.
pub fn kill_children(rounds: u32) -> io::Result<()> {
    let open = |thread: io::Result<DirEntry>| File::open(thread?.path().join("children"));
    let lists = fs::read_dir("/proc/self/task")?.map(open).collect::<io::Result<Vec<File>>>()?;
    let mut text = String::new();
    for _ in 0..rounds {
        for mut list in &lists {
            text.clear();
            list.rewind()?;
            list.read_to_string(&mut text)?;
            // The last one is the youngest.
            let pids = text.split_ascii_whitespace().rev().filter_map(|pid| pid.parse().ok());
            for pid in pids.filter_map(Pid::new) {
                let _ = kill_process(pid.into(), Signal::KILL);
            }
        }
    }
    Ok(())
}

/// Whether this process has a child at all, also one that has ended and is not reaped. Reaps none.
#[must_use]
pub fn has_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, look), Err(rustix::io::Errno::CHILD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::process::{ProcId, Signal};
    use crate::host::scan::descendants;
    use crate::host::testing::{eventually, in_own_process};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn shell(script: &str) -> Pid {
        Pid::of_child(&Command::new("sh").args(["-c", script]).spawn().unwrap())
    }

    fn reap_until(
        what: &str,
        mut over: impl FnMut(&[(Pid, ExitStatus)], bool) -> bool,
    ) -> Vec<(Pid, ExitStatus)> {
        let mut ended = Vec::new();
        eventually(what, || {
            let mut reaped = reap();
            ended.append(&mut reaped.ended);
            over(&ended, reaped.children_left)
        });
        ended
    }

    #[test]
    fn a_process_without_children_has_none_to_reap() {
        in_own_process("host::subreaper::tests::a_process_without_children_has_none_to_reap", || {
            assert!(!has_children());
            assert!(!is_alone(), "what its children left behind would be another's");
            become_subreaper().unwrap();
            assert!(is_alone());
            let reaped = reap();
            assert!(reaped.ended.is_empty());
            assert!(!reaped.children_left);
        });
    }

    #[test]
    fn each_child_is_reaped_once_with_its_status() {
        in_own_process("host::subreaper::tests::each_child_is_reaped_once_with_its_status", || {
            let (three, killed) = (shell("exit 3"), shell("kill -9 $$"));
            let mut ended = reap_until("both are reaped", |_, left| !left);
            ended.sort_by_key(|(pid, _)| (*pid == killed, *pid));
            let statuses: Vec<_> = ended.iter().map(|(pid, end)| (*pid, end.code(), end.signal())).collect();
            assert_eq!(statuses, [(three, Some(3), None), (killed, None, Some(9))]);
        });
    }

    #[test]
    fn a_child_that_is_started_beside_the_reaper_is_seen_and_one_that_cannot_be_is_an_error() {
        const NAME: &str = "host::subreaper::tests::\
            a_child_that_is_started_beside_the_reaper_is_seen_and_one_that_cannot_be_is_an_error";
        in_own_process(NAME, || {
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let _ = reap();
                    }
                });
                // A program that is not there, started the way in which the new process itself finds that out.
                let mut missing = Command::new("no-such-program");
                missing.env_clear().env("PATH", "/nowhere");
                let mut brief = Command::new("/bin/true");
                let starts = (0..200).map(|_| {
                    let error = unreaped(|| missing.spawn()).map(|_| ()).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::NotFound);
                    unreaped(|| ProcId::of_unreaped(Pid::of_child(&brief.spawn().unwrap()))).is_some()
                });
                let seen = starts.filter(|is_seen| *is_seen).count();
                is_over.store(true, Ordering::Relaxed);
                assert_eq!(seen, 200);
            });
        });
    }

    #[test]
    fn what_a_child_left_behind_comes_to_the_subreaper() {
        in_own_process("host::subreaper::tests::what_a_child_left_behind_comes_to_the_subreaper", || {
            become_subreaper().unwrap();
            let child = shell("setsid sh -c 'setsid sleep 600 & setsid sleep 600 &'");
            let sleepers = || {
                let names = descendants(&[ProcId::me()]).unwrap().into_iter().map(ProcId::command);
                names.collect::<Vec<_>>() == [Some("sleep".to_owned()), Some("sleep".to_owned())]
            };
            reap_until("only the sleepers are left", |ended, _| {
                ended.iter().any(|(pid, end)| *pid == child && end.success()) && sleepers()
            });
            assert!(reap().children_left, "the two sleepers are children now");
            assert!(has_children() && !is_alone());
            for stray in descendants(&[ProcId::me()]).unwrap() {
                assert!(stray.signal(Signal::KILL).unwrap());
            }
            let ended = reap_until("both are reaped", |_, left| !left);
            assert!(ended.iter().filter(|(_, end)| end.signal() == Some(9)).count() == 2, "{ended:?}");
            assert!(!has_children());
        });
    }
}
