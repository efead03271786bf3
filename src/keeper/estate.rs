//! What a keeper has on its host while it lives: its folder, its presence, the job's cgroup.

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use anyhow::Context;
use tracing::{debug, warn};

use super::{
    folder::{Deadline, JobFolder, KeeperRecord},
    open::open_here,
    protocol::Launch,
    script::Before,
};
use crate::{
    client::{MARKER, Present, Record},
    host::{
        cgroup::Cgroup,
        clock::BootTime,
        peer,
        process::ProcId,
        subreaper,
        tree::{JobTree, Marker},
    },
    lock::{Moment, Owner, Token},
};

/// How much less likely than others the keeper is to be killed when memory runs out.
const OOM_SCORE_ADJ: &str = "-500";

/// How long a cgroup that has just lost its last process may take to be removable.
const CGROUP_REMOVAL: std::time::Duration = std::time::Duration::from_millis(500);

/// A keeper's things on this host.
pub(super) struct Estate {
    folder: JobFolder,
    token: Token,
    owner: Owner,
    presence: Option<Present>,
    deadline: Option<Deadline>,
    tree: JobTree,
    /// As long as it is open the job's cgroup is not taken for a dead keeper's.
    _claim: Option<OwnedFd>,
    before: Before,
    /// The command that runs, and what those that have ended left behind.
    known: Vec<ProcId>,
}

impl Estate {
    /// Sets everything up. Where that can't be done nothing is left: no stage will come to clean up.
    pub(super) fn open(launch: &Launch) -> anyhow::Result<(Self, UnixListener)> {
        let folder = JobFolder::of(&launch.state, launch.token);
        // Everybody sees the names of cgroups: from this one nobody learns the token, by which a job's processes are known.
        let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, launch.token.uuid().as_bytes());
        let (cgroup, claim) = Cgroup::create(name).unzip();
        let marker = Marker { name: MARKER.into(), value: launch.token.to_string() };
        let tree = JobTree { cgroup, root: Some(ProcId::me()), marker: Some(marker), ..JobTree::default() };
        let mut estate = Self {
            folder,
            token: launch.token,
            owner: launch.owner.clone(),
            presence: None,
            deadline: None,
            tree,
            _claim: claim,
            before: less_likely_to_be_killed(),
            known: Vec::new(),
        };
        match estate.appear(launch) {
            Ok(listener) => {
                estate.cgroup().iter().for_each(|cgroup| cgroup.remove_forsaken());
                Ok((estate, listener))
            }
            Err(cause) => {
                estate.close();
                Err(cause)
            }
        }
    }

    /// Makes the files, in the order in which others may come to look.
    fn appear(&mut self, launch: &Launch) -> anyhow::Result<UnixListener> {
        let here = open_here(&launch.store, &launch.state)?;
        let record = self.record();
        let presence = Present::claim(&here, launch.token, record);
        self.presence = Some(presence.context("the presence file can't be made")?);
        self.deadline = Some(self.folder.create_deadline()?);
        self.folder.write_record(&KeeperRecord {
            pid: std::process::id(),
            owner: launch.owner.clone(),
            locks: launch.locks.iter().map(|wish| wish.name.clone()).collect(),
            store: launch.store.clone(),
            driver: launch.driver.clone(),
        })?;
        peer::bind(&self.folder.socket()).context("the keeper's socket can't be made")
    }

    /// The keeper's folder.
    pub(super) const fn folder(&self) -> &JobFolder {
        &self.folder
    }

    /// The processes of the job.
    pub(super) const fn tree(&self) -> &JobTree {
        &self.tree
    }

    /// The job's cgroup, if it has one.
    pub(super) const fn cgroup(&self) -> Option<&Cgroup> {
        self.tree.cgroup.as_ref()
    }

    /// What the job's commands take back.
    pub(super) const fn before(&self) -> &Before {
        &self.before
    }

    /// Makes the presence file anew if somebody removed it: without one, others take this keeper for dead in time.
    pub(super) fn stay_present(&mut self) {
        if let Some(presence) = &mut self.presence {
            presence.stay();
        }
    }

    fn record(&self) -> Record {
        Record::of_this_process(self.cgroup().map(|c| c.path().to_owned())).knowing(self.known.clone())
    }

    /// Writes down a stage's command, for whoever buries this keeper: the marker is lost with the environment, and a
    /// process may leave its cgroup (root's do, and the login of another user), if there is one.
    pub(super) fn note_command(&mut self, command: ProcId) {
        self.known.insert(0, command);
        self.note_processes();
    }

    /// Writes down what a stage's command that has ended left behind.
    pub(super) fn note_left(&mut self) {
        let living = if subreaper::has_children() { self.tree.living() } else { Ok(Vec::new()) };
        self.known = living.unwrap_or_default();
        if let Some(inside) = self.cgroup().and_then(|cgroup| cgroup.pids().ok()) {
            // There is room for a few only, and it knows its own by itself as long as they don't leave it.
            self.known.sort_by_key(|id| inside.contains(&id.pid));
        }
        self.note_processes();
    }

    fn note_processes(&mut self) {
        let record = self.record();
        if let Some(Err(error)) = self.presence.as_mut().map(|presence| presence.write(record)) {
            warn!(%error, "the job's processes can't be written down");
        }
    }

    /// Writes down until when the holds are proven.
    pub(super) fn note_deadline(&self, deadline: Option<Moment>) {
        if let Some(Err(error)) = self.deadline.as_ref().map(|file| file.set(deadline)) {
            warn!(%error, "the deadline can't be written down");
        }
    }

    /// The job is over: nothing is left behind.
    pub(super) fn close(&mut self) {
        self.leave_to_the_next();
        self.folder.remove(&self.owner, self.token);
    }

    /// The next try of the same job goes on with the locks; this one's own things go.
    pub(super) fn leave_to_the_next(&mut self) {
        if let Some(cgroup) = &self.tree.cgroup
            && let Err(error) = cgroup.remove(BootTime::now() + CGROUP_REMOVAL)
        {
            debug!(%error, "the job's cgroup stays");
        }
        if let Some(Err(error)) = self.presence.take().map(Present::remove) {
            debug!(%error, "the presence file stays");
        }
        self.folder.remove_all();
    }
}

/// Lets the kernel kill others first; where that is not permitted, everything stays as it is.
fn less_likely_to_be_killed() -> Before {
    const FILE: &str = "/proc/self/oom_score_adj";
    let old = fs::read_to_string(FILE).ok().map(|text| text.trim().to_owned());
    match fs::write(FILE, OOM_SCORE_ADJ) {
        Ok(()) => Before { oom_score_adj: old },
        Err(error) => {
            debug!(%error, "the keeper is as likely as others to be killed when memory runs out");
            Before::default()
        }
    }
}
