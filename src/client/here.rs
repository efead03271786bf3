//! What this host knows of its own holds: who is alive (by kernel locks), what survives of the dead, and the
//! bells that a release rings.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::burials::Burials;
use crate::{
    host::{
        bell::{Bell, BellWatch},
        cgroup::Cgroup,
        clock::{BootTime, boot_id},
        ending::Patience,
        places::{self, Place},
        presence::{Presence, PresenceDir, PresenceError, Probe},
        process::ProcId,
        tree::{JobTree, Marker},
    },
    lock::{LockName, Token},
};

/// The environment variable by which a job's processes are known, as a last resort.
pub const MARKER: &str = "PIPELINE_LOCK_MARK";

/// What stands behind the token in the mark of what takes a job's environment down (a wrapped driver's cleanup).
pub const CLEANUP_MARK: &str = ".cleanup";

/// How long the survivors of a dead holder are killed before their hold is left to the next try.
const BURIAL: Duration = Duration::from_secs(10);

/// How long a cgroup that has just lost its last process may take to be removable.
const CGROUP_REMOVAL: Duration = Duration::from_millis(500);

/// What a living holder writes into its presence file, for whoever has to bury it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cgroup of its processes, if it has one.
    pub cgroup: Option<PathBuf>,
    /// The pid namespace that it lives in: from one beside it its processes can't be seen.
    pub pid_namespace: String,
    /// The boot of this host that it lives in; empty from one that did not write it down.
    #[serde(default)]
    pub boot: String,
    /// Processes of it that are known, by the ids of that namespace and boot: a marker can be lost with the environment.
    #[serde(default)]
    pub known: Vec<ProcId>,
}

/// How many known processes are written down, so that a record fits into one page.
const MOST_KNOWN: usize = 32;

impl Record {
    /// The record of this process.
    pub fn of_this_process(cgroup: Option<PathBuf>) -> Self {
        Self { cgroup, pid_namespace: pid_namespace(), boot: boot_id(), known: Vec::new() }
    }

    /// The same with these processes, as many as there is room for.
    #[must_use]
    pub fn knowing(mut self, mut known: Vec<ProcId>) -> Self {
        known.truncate(MOST_KNOWN);
        self.known = known;
        self
    }
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What is to be done for a dead holder after the last of its processes and before its hold is ended.
#[derive(Clone)]
pub struct Rites(Arc<dyn Fn(Token) -> bool + Send + Sync>);

impl Rites {
    /// `perform` is called with the dead holder's token, and may take long. False: the hold can't be ended yet.
    pub fn new(perform: impl Fn(Token) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(perform))
    }
}

impl fmt::Debug for Rites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rites")
    }
}

/// The holds of this host.
#[derive(Clone, Debug)]
pub struct Here {
    presences: PresenceDir,
    bells: PathBuf,
    waiting: PathBuf,
    rites: Option<Rites>,
    pub(super) burials: Burials,
}

impl Here {
    /// Opens (or makes) the folders `holds` and `bells` under `dir`.
    pub fn open(dir: &Path) -> Result<Self, PresenceError> {
        Ok(Self {
            presences: PresenceDir::open(dir.join("holds"))?,
            bells: dir.join("bells"),
            waiting: dir.join("waiting"),
            rites: None,
            burials: Burials::default(),
        })
    }

    /// As it is, with what is to be done for the dead.
    pub fn with_rites(self, rites: Rites) -> Self {
        Self { rites: Some(rites), ..self }
    }

    /// Makes `token` known as alive for as long as the result lives in this process.
    pub fn claim(&self, token: Token, record: &Record) -> Result<Presence, PresenceError> {
        self.presences.claim(token.uuid(), record)
    }

    /// As [`Here::claim`], also where the folder itself was removed.
    pub fn claim_anew(&self, token: Token, record: &Record) -> Result<Presence, PresenceError> {
        PresenceDir::open(self.presences.path())?.claim(token.uuid(), record)
    }

    /// Takes one of the `most` places for those of this host who wait; `None`: all are taken.
    pub fn waiting_place(&self, most: u32) -> io::Result<Option<Place>> {
        places::take(&self.waiting, most)
    }

    /// Rings for those on this host who wait for `name`.
    pub fn ring(&self, name: &LockName) {
        Bell::new(&self.bells).ring(name.as_str());
    }

    /// A number that is another one after each ring for `name`.
    pub fn mark(&self, name: &LockName) -> u64 {
        Bell::new(&self.bells).mark(name.as_str())
    }

    /// Watches the bell of `name`.
    pub fn listen(&self, name: &LockName) -> BellWatch {
        BellWatch::new(&self.bells, name.as_str())
    }

    /// As [`Here::bury`], of one that is dead though its file is gone: removed by a cleaner of old files, or by its own
    /// job. It gets another one, and what is known of it is its mark.
    pub fn bury_without_file(&self, token: Token) -> Found {
        match self.claim_anew(token, &Record::of_this_process(None)) {
            Ok(presence) => drop(presence),
            // Somebody else was quicker.
            Err(PresenceError::Taken(_)) => {}
            Err(error) => {
                warn!(%token, %error, "a holder without a file can't be buried");
                return Found::Alive;
            }
        }
        self.bury(token)
    }

    /// Whether one that was found dead before still has its file, and nobody has that in hand: its own cleanup or retry.
    pub(super) fn lies_there(&self, token: Token) -> bool {
        matches!(self.presences.probe(token.uuid()), Ok(Probe::Dead { .. }))
    }

    /// Removes the file of one that was buried, unless somebody has done so or is about to.
    pub(super) fn clear_away(&self, token: Token) {
        if let Ok(Probe::Dead { presence, .. }) = self.presences.probe(token.uuid())
            && let Err(error) = presence.remove()
        {
            warn!(%token, %error, "the file of a buried waiter stays");
        }
    }

    /// Looks whether `token`'s process lives; if it is dead, ends what survives of it.
    pub fn bury(&self, token: Token) -> Found {
        let (presence, record) = match self.presences.probe(token.uuid()) {
            Ok(Probe::Dead { presence, record }) => (presence, record),
            Ok(Probe::Missing) => return Found::Missing,
            Ok(Probe::Alive) => return Found::Alive,
            Err(error) => {
                warn!(%token, %error, "a holder can't be looked at, and is taken for alive");
                return Found::Alive;
            }
        };
        let mut record: Record = serde_json::from_slice(&record).unwrap_or_default();
        if record.pid_namespace != pid_namespace() {
            // From a namespace around that one they are seen, under other ids.
            warn!(%token, "a dead holder lived in another pid namespace: its processes may not be seen from here");
            record.known.clear();
        }
        if !record.boot.is_empty() && record.boot != boot_id() {
            // Who has such an id and time since the boot now is somebody else.
            record.known.clear();
        }
        let tree = JobTree {
            cgroup: record.cgroup.and_then(|path| Cgroup::open(&path)),
            known: record.known,
            marker: Some(Marker { name: MARKER.into(), value: token.to_string() }),
            ..JobTree::default()
        };
        let ended = tree.end_blocking(Patience { term_grace: Duration::ZERO, kill_limit: BURIAL });
        if !ended.is_over() {
            warn!(%token, left = ended.left.len(), blind = ended.blind, "processes of a dead holder can't be ended yet");
            return Found::Alive;
        }
        if self.rites.as_ref().is_some_and(|Rites(perform)| !perform(token)) {
            return Found::Alive;
        }
        if let Some(cgroup) = &tree.cgroup {
            let _ = cgroup.remove(BootTime::now() + CGROUP_REMOVAL);
        }
        info!(%token, ended = ended.count, "a dead holder is buried");
        Found::Buried(presence)
    }
}

/// What a look at a holder of this host found.
#[derive(Debug)]
pub enum Found {
    /// It lives, or processes of it do.
    Alive,
    /// This host knows nothing of it.
    Missing,
    /// It is dead and nothing of it survives: its hold may be ended by whoever has this.
    Buried(Presence),
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::host::process::Pid;

    /// Nobody else's: a burial kills whoever on this host has its mark.
    fn token() -> Token {
        Token::new(uuid::Uuid::new_v4())
    }

    #[test]
    fn ids_of_a_former_boot_or_of_another_namespace_are_nobodys_now() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let (mut sleeper, token) = (Command::new("sleep").arg("600").spawn().unwrap(), token());
        let known = ProcId::of(Pid::of_child(&sleeper)).unwrap();
        let record = Record::of_this_process(None).knowing(vec![known]);
        let former = Record { boot: "another".into(), ..record.clone() };
        let beside = Record { pid_namespace: "pid:[1]".into(), ..record.clone() };
        for (record, is_ours) in [(former, false), (beside, false), (record, true)] {
            drop(here.claim(token, &record).unwrap());
            let Found::Buried(grave) = here.bury(token) else { panic!("nobody holds it") };
            assert_eq!(known.is_alive(), !is_ours);
            grave.remove().unwrap();
        }
        assert!(!sleeper.wait().unwrap().success(), "it was killed");
    }

    #[test]
    fn a_hold_stands_until_what_is_to_be_done_for_its_dead_holder_is_done() {
        let place = tempfile::tempdir().unwrap();
        let is_done = Arc::new(AtomicBool::new(false));
        let told = is_done.clone();
        let rites = Rites::new(move |_| told.load(Ordering::SeqCst));
        let here = Here::open(place.path()).unwrap().with_rites(rites);
        let token = token();
        drop(here.claim(token, &Record::of_this_process(None)).unwrap());
        assert!(matches!(here.bury(token), Found::Alive));
        is_done.store(true, Ordering::SeqCst);
        assert!(matches!(here.bury(token), Found::Buried(_)));
    }
}
