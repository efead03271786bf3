//! A cgroup v2 of a job's own, where this process may make one: it knows the job's processes whatever they do to
//! hide, and freezes and kills them in one step.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use uuid::Uuid;

use super::cgroup_claim;
use super::cgroup_door::Door;
use super::cgroup_mount;
use super::clock::BootTime;
use super::process::Pid;

/// How the name of each of our cgroups begins.
const PREFIX: &str = "pipeline-lock-job-";

/// `f_type` of the cgroup v2 filesystem (`CGROUP2_SUPER_MAGIC` in linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// How long to wait between two attempts to remove a cgroup whose processes are going.
const REMOVE_RETRY: Duration = Duration::from_millis(5);

/// A cgroup v2 that belongs to one job. Dropping this leaves it in place; [`Cgroup::remove`] removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the cgroup of `token` below that of this process, claimed until the descriptor is closed; none where that
    /// is not possible: no cgroup v2, a read-only mount (most containers), no permission (a service without
    /// `Delegate=yes` that is not root).
    #[must_use]
    pub fn create(token: Uuid) -> Option<(Self, OwnedFd)> {
        let Some(parent) = cgroup_mount::own_cgroup() else {
            tracing::debug!("no cgroup v2 for the job: this process is in none that it can see");
            return None;
        };
        let path = parent.join(format!("{PREFIX}{token}"));
        match cgroup_claim::make(&path) {
            Ok(claim) => Some((Self { path }, claim)),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no cgroup v2 for the job");
                None
            }
        }
    }

    /// Removes those beside this one whose keepers are dead and in which nobody lives: of a keeper that died before it
    /// had said what it has, or that nobody buried.
    pub fn remove_forsaken(&self) {
        let beside = self.path.parent().and_then(|parent| fs::read_dir(parent).ok());
        for path in beside.into_iter().flatten().flatten().map(|entry| entry.path()) {
            if is_ours(&path)
                && let Ok(Some(_claim)) = cgroup_claim::of_the_dead(&path)
                && (Self { path: path.clone() }).try_remove().is_ok()
            {
                tracing::info!(path = %path.display(), "the cgroup of a dead keeper is removed");
            }
        }
    }

    /// The cgroup that an earlier process made at `path`; none if it is gone, or if that is no cgroup of ours,
    /// so that no record, however broken, makes anyone kill a stranger.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        is_ours(path).then_some(())?;
        let filesystem = rustix::fs::statfs(path).ok()?;
        let is_cgroup = u64::try_from(filesystem.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC);
        (is_cgroup && path.is_absolute()).then(|| Self { path: path.to_owned() })
    }

    /// Where it is: to be recorded for a later [`Cgroup::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The way in for a process that is about to be started.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn door(&self) -> io::Result<Door> {
        let open = |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Door {
            directory: open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY)?,
            procs: open(&self.path.join("cgroup.procs"), OFlags::WRONLY)?,
        })
    }

    /// The processes in it, and in cgroups that they made below it. Zombies are not among them. A cgroup that is gone
    /// is empty.
    ///
    /// # Errors
    /// When it can't be read, for want of open files for instance: that is no proof that it is empty.
    pub fn pids(&self) -> io::Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for directory in subtree(&self.path)? {
            let listed = read_if_there(&directory.join("cgroup.procs"))?;
            // 0 is a process outside of our pid namespace.
            pids.extend(listed.lines().filter_map(|line| line.parse().ok().and_then(Pid::new)));
        }
        Ok(pids)
    }

    /// Whether a process lives in it or below: exact, since the kernel counts them. A cgroup that is gone is empty.
    ///
    /// # Errors
    /// As for [`Cgroup::pids`].
    pub fn is_populated(&self) -> io::Result<bool> {
        let events = read_if_there(&self.path.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// Kills all that is in it and below, forks in progress included. False where the kernel can't (before 5.14);
    /// then the processes have to be killed one by one.
    ///
    /// # Errors
    /// What writing `cgroup.kill` says.
    pub fn kill(&self) -> io::Result<bool> {
        self.write_if_there("cgroup.kill", "1")
    }

    /// Stops (`true`) or continues all that is in it and below; the kernel does so shortly after. KILL works on frozen
    /// processes, other signals wait. False where the kernel can't (before 5.2).
    ///
    /// # Errors
    /// What writing `cgroup.freeze` says.
    pub fn freeze(&self, frozen: bool) -> io::Result<bool> {
        self.write_if_there("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Removes it with what was made below it, trying until `deadline` while processes are still going. One that is
    /// gone is removed.
    ///
    /// # Errors
    /// `ResourceBusy` when a process was in it up to the deadline; or what rmdir(2) says.
    pub fn remove(&self, deadline: BootTime) -> io::Result<()> {
        loop {
            match self.try_remove() {
                Err(error) if error.kind() == ErrorKind::ResourceBusy && BootTime::now() < deadline => {
                    std::thread::sleep(REMOVE_RETRY);
                }
                outcome => return outcome,
            }
        }
    }

    fn try_remove(&self) -> io::Result<()> {
        for directory in subtree(&self.path)?.iter().rev() {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn write_if_there(&self, file: &str, text: &str) -> io::Result<bool> {
        // A plain open without O_CREAT: on this filesystem a file that is missing is one that the kernel lacks.
        let opened = fs::OpenOptions::new().write(true).open(self.path.join(file));
        match opened.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a cgroup at `path` would be one of ours, by its name.
fn is_ours(path: &Path) -> bool {
    let token = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX));
    token.is_some_and(|token| Uuid::parse_str(token).is_ok())
}

/// `top` and all directories below it, each after the one that holds it.
fn subtree(top: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        match fs::read_dir(directory) {
            Ok(entries) => {
                let entries = entries.collect::<io::Result<Vec<_>>>()?;
                let directories =
                    entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
                found.extend(directories.map(fs::DirEntry::path));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        next += 1;
    }
    Ok(found)
}

/// The text of a file of a cgroup; empty if the cgroup is gone, or was made by the job for threads alone.
fn read_if_there(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Err(error) if is_gone_or_threaded(&error) => Ok(String::new()),
        read => read,
    }
}

/// A cgroup that goes while its file is open says ENODEV; a threaded one lists no processes and says EOPNOTSUPP,
/// while the processes of its threads are listed above it (cgroups(7)).
fn is_gone_or_threaded(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{Guarded, eventually, with_cgroup};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn sleeper_in(cgroup: &Cgroup, script: &str) -> Guarded {
        let door = cgroup.door().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        // SAFETY: `step_in` is one write(2) to a file descriptor that is open in the child: async-signal-safe.
        unsafe { shell.pre_exec(move || door.step_in()) };
        Guarded::spawn(&mut shell)
    }

    #[test]
    fn a_child_that_enters_is_listed_with_all_that_it_starts() {
        with_cgroup(|cgroup| {
            assert!(!cgroup.is_populated().unwrap());
            let child = sleeper_in(cgroup, "setsid sleep 600 & exec sleep 600");
            eventually("both are listed", || cgroup.pids().unwrap().len() == 2);
            assert!(cgroup.pids().unwrap().contains(&child.pid()));
            assert!(!cgroup.pids().unwrap().contains(&Pid::me()));
            assert!(cgroup.is_populated().unwrap());
        });
    }

    #[test]
    fn what_is_killed_leaves_a_cgroup_that_can_be_removed() {
        with_cgroup(|cgroup| {
            let _child = sleeper_in(cgroup, "setsid sleep 600 & exec sleep 600");
            eventually("both are listed", || cgroup.pids().unwrap().len() == 2);
            fs::create_dir(cgroup.path().join("made-by-the-job")).unwrap();
            let busy = cgroup.remove(BootTime::now()).unwrap_err();
            assert_eq!(busy.kind(), ErrorKind::ResourceBusy);
            if !cgroup.kill().unwrap() {
                for pid in cgroup.pids().unwrap() {
                    rustix::process::kill_process(pid.into(), rustix::process::Signal::KILL).unwrap();
                }
            }
            cgroup.remove(BootTime::now() + Duration::from_secs(20)).unwrap();
            assert!(!cgroup.path().exists());
            assert!(cgroup.pids().unwrap().is_empty());
            assert!(!cgroup.is_populated().unwrap());
            cgroup.remove(BootTime::now()).expect("one that is gone is removed");
        });
    }

    #[test]
    fn a_cgroup_is_forsaken_when_its_keeper_is_dead_and_nobody_lives_in_it() {
        with_cgroup(|cgroup| {
            let make = || Cgroup::create(Uuid::new_v4()).unwrap();
            let ((claimed, claim), (lived_in, dead), (forsaken, gone)) = (make(), make(), make());
            let child = sleeper_in(&lived_in, "exec sleep 600");
            eventually("it is in", || lived_in.is_populated().unwrap());
            drop((dead, gone));
            cgroup.remove_forsaken();
            assert!(!forsaken.path().exists());
            assert!(cgroup.path().exists() && claimed.path().exists() && lived_in.path().exists());
            drop((claim, child));
            eventually("the other two are forsaken as well", || {
                cgroup.remove_forsaken();
                !claimed.path().exists() && !lived_in.path().exists()
            });
        });
    }

    #[test]
    fn a_later_process_opens_only_what_is_ours() {
        with_cgroup(|cgroup| {
            assert_eq!(Cgroup::open(cgroup.path()).as_ref(), Some(cgroup));
            let parent = cgroup.path().parent().unwrap();
            assert_eq!(Cgroup::open(parent), None, "a cgroup, but not ours");
        });
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join(format!("{PREFIX}{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        assert_eq!(Cgroup::open(&path), None, "our name, but no cgroup");
    }
}
