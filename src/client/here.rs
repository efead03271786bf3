//! What this host knows of its own holds: who is alive (by kernel locks), what survives of the dead, and the
//! bells that a release rings.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{
    host::{
        bell::{Bell, BellWatch},
        cgroup::Cgroup,
        presence::{Presence, PresenceDir, Probe},
        tree::JobTree,
    },
    lock::{LockName, LockState, Moment, Term, Token},
    store::Liveness,
};

/// The environment variable by which a job's processes are known, as a last resort.
pub const MARKER: &str = "PIPELINE_LOCK_MARK";

/// How long a hold by kernel lock may be without its file before it counts as dead: its holder makes a lost
/// file again within a heartbeat.
const MISSING_FOR: Duration = Duration::from_secs(60);

/// How long the survivors of a dead holder are killed before their hold is left to the next try.
const BURIAL: Duration = Duration::from_secs(10);

/// What a living holder writes into its presence file, for whoever has to bury it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cgroup of its processes, if it has one.
    pub cgroup: Option<PathBuf>,
    /// The pid namespace that it lives in: from another one its processes can't be seen.
    pub pid_namespace: String,
}

impl Record {
    /// The record of this process.
    pub fn of_this_process(cgroup: Option<PathBuf>) -> Self {
        Self { cgroup, pid_namespace: pid_namespace() }
    }
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The holds of this host.
#[derive(Clone, Debug)]
pub struct Here {
    presences: PresenceDir,
    bells: PathBuf,
}

impl Here {
    /// Opens (or makes) the folders `holds` and `bells` under `dir`.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { presences: PresenceDir::open(&dir.join("holds"))?, bells: dir.join("bells") })
    }

    /// Makes `token` known as alive for as long as the result lives in this process.
    pub fn claim(&self, token: Token, record: &Record) -> io::Result<Presence> {
        self.presences.claim(token.uuid(), record)
    }

    /// Rings for those on this host who wait for `name`.
    pub fn ring(&self, name: &LockName) {
        Bell::new(&self.bells).ring(name.as_str());
    }

    /// Watches the bell of `name`.
    pub fn listen(&self, name: &LockName) -> BellWatch {
        BellWatch::new(&self.bells, name.as_str())
    }

    /// Takes hold of `token`'s presence if its process is dead, and ends what survives of it. `None` while it
    /// lives, is not of this host, or while some of its processes can't be ended.
    pub fn bury(&self, token: Token) -> Option<Presence> {
        let Probe::Dead(presence, record) = self.presences.probe(token.uuid()) else { return None };
        let record: Record = serde_json::from_slice(&record).unwrap_or_default();
        if record.pid_namespace != pid_namespace() {
            warn!(%token, "a dead holder lived in another pid namespace: its processes can't be seen from here");
            return Some(presence);
        }
        let tree = JobTree::of_the_dead(
            record.cgroup.and_then(|path| Cgroup::open(&path)),
            (MARKER.into(), token.to_string()),
        );
        let ended = tree.kill(BURIAL);
        if ended.survivors > 0 {
            warn!(%token, survivors = ended.survivors, "processes of a dead holder can't be ended yet");
            return None;
        }
        info!(%token, ended = ended.ended, "a dead holder is buried");
        Some(presence)
    }

    fn is_missing(&self, token: Token) -> bool {
        !self.presences.exists(token.uuid())
    }
}

/// Those whom one waiter found dead on this host, and whose holds it may therefore end.
#[derive(Debug)]
pub(super) struct Graves {
    here: Option<Here>,
    liveness: Liveness,
    buried: HashMap<Token, Presence>,
    missing: HashMap<Token, Moment>,
}

impl Graves {
    pub(super) fn new(here: Option<Here>, liveness: Liveness) -> Self {
        Self { here, liveness, buried: HashMap::new(), missing: HashMap::new() }
    }

    /// Looks at the holders and at the head of the queue, and buries whom it finds dead. The result are the
    /// tokens of `state` that may be removed.
    pub(super) async fn look(&mut self, state: &LockState, me: Token, now: Moment) -> Vec<Token> {
        let Some(here) = &self.here else { return Vec::new() };
        let live = state.holders.iter().filter(|h| matches!(h.term, Term::Live { .. })).map(|h| h.token);
        let head = state.in_order().first().map(|w| w.token);
        let tokens: Vec<Token> = live.chain(head).filter(|token| *token != me).collect();
        self.missing.retain(|token, _| tokens.contains(token));
        let mut gone = Vec::new();
        for token in tokens {
            if self.buried.contains_key(&token) {
                gone.push(token);
            } else if here.is_missing(token) {
                let since = *self.missing.entry(token).or_insert(now);
                if self.liveness == Liveness::KernelLock && now.since(since) >= MISSING_FOR {
                    gone.push(token);
                }
            } else if let Some(presence) = bury_aside(here.clone(), token).await {
                self.buried.insert(token, presence);
                gone.push(token);
            }
        }
        gone
    }

    /// The holds of the buried are ended: their files go.
    pub(super) fn close(&mut self, state: &LockState) {
        let over = |token: &Token| state.holder(*token).is_none() && state.waiter(*token).is_none();
        let tokens: Vec<Token> = self.buried.keys().copied().filter(over).collect();
        for token in tokens {
            if let Some(presence) = self.buried.remove(&token) {
                presence.remove();
            }
        }
    }
}

/// Burying can take seconds: it must not hold up this process's renewals.
async fn bury_aside(here: Here, token: Token) -> Option<Presence> {
    tokio::task::spawn_blocking(move || here.bury(token)).await.ok().flatten()
}
