//! The processes of one job: all that it started and that still live, found in every way that the kernel has.

use std::collections::BTreeSet;
use std::io;

use super::cgroup::Cgroup;
use super::process::{Pid, ProcId, Signal};
use super::scan::{descendants, with_marker};
use super::subreaper::{has_children, is_alone, is_subreaper};

/// How many rounds of stopping a fork storm gets before what is found so far has to do.
const STOP_ROUNDS: usize = 50;

/// An environment variable that each process of a job was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The variable's name.
    pub name: String,
    /// Its value, which no other job has.
    pub value: String,
}

/// Where to look for the processes of a job. Each way is optional, and what any of them finds belongs to the job.
///
/// The process that looks, the root and those in `exclude` never do.
#[derive(Clone, Debug, Default)]
pub struct JobTree {
    /// The job's own cgroup.
    pub cgroup: Option<Cgroup>,
    /// The process whose descendants are the job's: the keeper, as child subreaper. Of no use once it is dead.
    pub root: Option<ProcId>,
    /// Processes known to be the job's, from a record; their descendants are so too.
    pub known: Vec<ProcId>,
    /// What the environment of each of the job's processes has: a last resort.
    pub marker: Option<Marker>,
    /// Processes that are not the job's, wherever they are found. Their descendants may be.
    pub exclude: Vec<Pid>,
}

impl JobTree {
    /// The job's processes that live now, zombies not counted.
    ///
    /// An empty answer comes from two looks, since one can miss a process that forks and ends under it.
    ///
    /// # Errors
    /// When this process can't look, for want of open files: that is no proof that none lives.
    pub fn living(&self) -> io::Result<Vec<ProcId>> {
        let found = self.look()?;
        if found.is_empty() { self.look() } else { Ok(found) }
    }

    /// Whether a look has shown that none of the job's processes lives. Where there is no way to look it is not over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_over = self.living().and_then(|living| Ok(living.is_empty() && !self.hides_somebody()?));
        is_over.inspect_err(log_blindness).unwrap_or(false)
    }

    /// Whether somebody lives whom a look may have missed, by what the kernel counts itself: who starts a successor and
    /// ends, again and again, is gone each time before anybody has read its id in a list. Below this process nobody is
    /// gone before it is reaped: so somebody has to do that meanwhile.
    ///
    /// # Errors
    /// As for [`JobTree::living`].
    pub(super) fn hides_somebody(&self) -> io::Result<bool> {
        Ok((self.is_below_me() && has_children())
            || self.cgroup.as_ref().map(Cgroup::is_populated).transpose()?.unwrap_or(false))
    }

    /// Whether all that descends from this process is the job's, and comes to this process when its parents end.
    pub(super) fn is_below_me(&self) -> bool {
        self.root.is_some_and(|root| root.pid == Pid::me()) && is_subreaper()
    }

    /// Sends `signal` to all that live now. Tells how many it reached.
    ///
    /// # Errors
    /// As for [`JobTree::living`]; nobody has got the signal then.
    pub fn signal(&self, signal: Signal) -> io::Result<usize> {
        Ok(send(&self.living()?, signal))
    }

    /// Stops all of the job's processes: by the cgroup's freezer, which they don't notice, and those outside of it
    /// with STOP.
    ///
    /// # Errors
    /// As for [`JobTree::living`]; those outside of the cgroup may run on.
    pub fn freeze(&self) -> io::Result<()> {
        let inside = if self.set_frozen(true) { self.cgroup_pids()? } else { BTreeSet::new() };
        self.stop_all_but(inside)
    }

    /// Lets all of the job's processes go on after [`JobTree::freeze`].
    ///
    /// # Errors
    /// As for [`JobTree::living`]; those outside of the cgroup may still be stopped.
    pub fn thaw(&self) -> io::Result<()> {
        let inside = if self.set_frozen(false) { self.cgroup_pids()? } else { BTreeSet::new() };
        let mut stopped = self.living()?;
        stopped.retain(|id| !inside.contains(&id.pid));
        send(&stopped, Signal::CONT);
        Ok(())
    }

    /// Stops all with STOP, in rounds until no new one turns up, so that nobody is left who could fork.
    pub(super) fn stop_all(&self) -> io::Result<()> {
        self.stop_all_but(BTreeSet::new())
    }

    /// Sets the cgroup's freezer; false where there is none.
    pub(super) fn set_frozen(&self, frozen: bool) -> bool {
        let Some(cgroup) = &self.cgroup else { return false };
        cgroup.freeze(frozen).unwrap_or_else(|error| {
            tracing::debug!(path = %cgroup.path().display(), %error, "the job's cgroup has no freezer");
            false
        })
    }

    fn cgroup_pids(&self) -> io::Result<BTreeSet<Pid>> {
        let pids = self.cgroup.as_ref().map(Cgroup::pids).transpose()?;
        Ok(pids.into_iter().flatten().collect())
    }

    fn stop_all_but(&self, mut stopped: BTreeSet<Pid>) -> io::Result<()> {
        for _ in 0..STOP_ROUNDS {
            let mut fresh = self.living()?;
            fresh.retain(|id| stopped.insert(id.pid));
            if fresh.is_empty() {
                return Ok(());
            }
            send(&fresh, Signal::STOP);
        }
        tracing::debug!(rounds = STOP_ROUNDS, "the job forks faster than it can be stopped");
        Ok(())
    }

    fn look(&self) -> io::Result<Vec<ProcId>> {
        let mut found: BTreeSet<ProcId> = self.known.iter().copied().filter(|id| id.is_alive()).collect();
        for pid in self.cgroup_pids()? {
            found.extend(ProcId::look_for(pid)?);
        }
        let roots: Vec<ProcId> = self.known.iter().chain(&self.root).copied().collect();
        let is_certain = roots.iter().all(|root| root.pid == Pid::me()) && is_alone();
        if !(roots.is_empty() || is_certain) {
            found.extend(descendants(&roots)?);
        }
        if let Some(marker) = &self.marker {
            found.extend(with_marker(&marker.name, &marker.value, &self.exclude)?);
        }
        let (me, root) = (Pid::me(), self.root.map(|root| root.pid));
        let is_other = |pid: Pid| pid == me || Some(pid) == root || self.exclude.contains(&pid);
        Ok(found.into_iter().filter(|id| !is_other(id.pid)).collect())
    }
}

/// Says that nobody knows whether the job's processes live.
pub(super) fn log_blindness(error: &io::Error) {
    tracing::warn!(%error, "can't look which of the job's processes live");
}

/// Sends `signal` to each of `processes`. Tells how many it reached; one that ended in between, or that runs as a
/// user whom this process may not signal, is not counted.
pub(super) fn send(processes: &[ProcId], signal: Signal) -> usize {
    let reached = |id: &&ProcId| match id.signal(signal) {
        Ok(reached) => reached,
        Err(error) => {
            tracing::debug!(pid = %id.pid, ?signal, %error, "a process of the job can't be signalled");
            false
        }
    };
    processes.iter().filter(reached).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::proc_stat::Stat;
    use crate::host::testing::{Guarded, Stray, eventually};
    use std::process::{Command, Stdio};

    fn below(shell: &Guarded) -> JobTree {
        JobTree { root: ProcId::of(shell.pid()), ..JobTree::default() }
    }

    fn state(pid: Pid) -> char {
        Stat::read(pid).unwrap().map_or('?', |stat| stat.state)
    }

    #[test]
    fn what_any_way_finds_belongs_to_the_job_once() {
        let value = uuid::Uuid::new_v4().to_string();
        let (shell, line) = Guarded::shell("sleep 600 & echo $!; wait");
        let child = Stray::parse(&line);
        let mut marked = Guarded::spawn(
            Command::new("sh")
                .args(["-c", "echo; exec sleep 600"])
                .env("PL_TEST_JOB", &value)
                .stdout(Stdio::piped()),
        );
        marked.line();
        let (known, line) = Guarded::shell("sleep 600 & echo $!; wait");
        let grandchild = Stray::parse(&line);
        let tree = JobTree {
            root: ProcId::of(shell.pid()),
            known: vec![ProcId::of(known.pid()).unwrap(), ProcId::of(child.0).unwrap()],
            marker: Some(Marker { name: "PL_TEST_JOB".into(), value }),
            ..JobTree::default()
        };
        let mut expected = [child.0, marked.pid(), known.pid(), grandchild.0];
        expected.sort();
        eventually("all are found", || {
            tree.living().unwrap().iter().map(|id| id.pid).collect::<Vec<_>>() == expected
        });
        let spared = JobTree { exclude: vec![child.0, marked.pid()], ..tree };
        let found: Vec<Pid> = spared.living().unwrap().iter().map(|id| id.pid).collect();
        assert!(
            found.contains(&known.pid()) && found.contains(&grandchild.0) && found.len() == 2,
            "{found:?}"
        );
    }

    #[test]
    fn the_root_is_not_the_jobs_however_it_is_found() {
        let (shell, line) = Guarded::shell("sleep 600 & echo $!; wait");
        let child = Stray::parse(&line);
        let root = ProcId::of(shell.pid()).unwrap();
        let tree = JobTree { known: vec![root], ..below(&shell) };
        let found: Vec<Pid> = tree.living().unwrap().iter().map(|id| id.pid).collect();
        assert_eq!(found, [child.0]);
        assert!(!tree.is_over());
        assert!(JobTree { exclude: vec![child.0], ..tree }.is_over());
    }

    #[test]
    fn a_root_that_is_gone_makes_nobody_the_jobs() {
        let (mut shell, line) = Guarded::shell("sleep 600 & echo $!; wait");
        let stray = Stray::parse(&line);
        let tree = below(&shell);
        eventually("the child is found", || tree.living().unwrap().len() == 1);
        shell.kill();
        eventually("the child has another parent", || {
            Stat::read(stray.0).unwrap().is_some_and(|stat| stat.parent != Some(shell.pid()))
        });
        assert!(tree.living().unwrap().is_empty());
    }

    #[test]
    fn a_job_without_a_cgroup_is_stopped_and_goes_on() {
        let (shell, line) = Guarded::shell("setsid sleep 600 & echo $!; wait");
        let stray = Stray::parse(&line);
        let tree = below(&shell);
        eventually("the child is found", || tree.living().unwrap().len() == 1);
        tree.freeze().unwrap();
        eventually("it is stopped", || state(stray.0) == 'T');
        assert_ne!(state(shell.pid()), 'T', "the root is not the job's");
        tree.thaw().unwrap();
        eventually("it goes on", || state(stray.0) == 'S');
    }
}
