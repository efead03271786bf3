//! The dead man's switch: when a job has to be ended from outside of its keeper, and how.

use std::{path::PathBuf, time::Duration};

use tracing::warn;

use crate::{
    client::MARKER,
    host::{
        cgroup::Cgroup,
        clock::BootTime,
        ending::Patience,
        process::{Pid, ProcId},
        tree::{JobTree, Marker},
    },
    keeper::{BEFORE_THE_LEASE, Deadline, KILL_LIMIT},
    lock::Token,
};

/// The keeper acts at the deadline less its grace; this much later the switch does.
const SLACK: Duration = Duration::from_millis(500);

/// From TERM to KILL when the keeper has died: none. With its keeper the job's proof of life on this host is gone, and a
/// waiter may look already who lives; a parent that heeded TERM would hide a child that did not.
pub(super) const ABANDONED_GRACE: Duration = Duration::ZERO;

/// When the job is to be ended unless the deadline moves.
pub(super) fn switch_time(deadline: &Deadline, kill_grace: Duration) -> Option<BootTime> {
    let deadline = BootTime::from_boot(deadline.get()?.0);
    Some(deadline.before(kill_grace) + SLACK.min(kill_grace / 2))
}

/// How long there is to end the job, after which its processes must not live.
pub(super) fn until_the_lease(deadline: &Deadline) -> Duration {
    let deadline = deadline.get().map_or(BootTime::now(), |d| BootTime::from_boot(d.0));
    deadline.before(BEFORE_THE_LEASE).since(BootTime::now())
}

/// A job as it is seen from outside of its keeper.
pub(super) struct Outside {
    /// The job.
    pub(super) token: Token,
    /// The cgroup of its processes, if it has one.
    pub(super) cgroup: Option<PathBuf>,
    /// A process of it that is known, with all below it.
    pub(super) known: Option<ProcId>,
    /// Its keeper, if all below that is the job's: one that stands still has what has left its parents and its
    /// environment below it still. Of no use once it is dead.
    pub(super) keeper: Option<ProcId>,
}

impl Outside {
    /// Ends all of the job's processes.
    pub(super) fn end(&self, term_grace: Duration) {
        let tree = JobTree {
            cgroup: self.cgroup.as_deref().and_then(Cgroup::open),
            root: self.keeper,
            known: self.known.into_iter().collect(),
            marker: Some(Marker { name: MARKER.into(), value: self.token.to_string() }),
            exclude: vec![Pid::me()],
        };
        let ended = tree.end_blocking(Patience { term_grace, kill_limit: KILL_LIMIT });
        if !ended.is_over() {
            warn!(left = ended.left.len(), blind = ended.blind, "processes of the job can't be ended");
        }
    }
}
