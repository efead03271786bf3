//! What a keeper leaves on disk while it lives: its socket, its record, its deadline, its log. Keyed by token.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::command::CommandBlock;
use crate::{
    config::{Driver, StoreConfig},
    host::{
        private_folder::{make_new_folder, make_private_file, make_private_folder, open_regular},
        process::{Pid, ProcId},
    },
    lock::{LockName, Moment, Owner, Token},
};

/// What whoever buries a keeper has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeeperRecord {
    /// The keeper's process.
    pub pid: u32,
    /// On whose behalf it was.
    pub owner: Owner,
    /// The locks that it held or waited for.
    pub locks: Vec<LockName>,
    /// Where these locks are.
    pub store: StoreConfig,
    /// The driver that does the job's work, if not a shell does.
    pub driver: Option<Driver>,
}

/// The folder of one keeper: `<state>/jobs/<token>`, readable by its user alone.
#[derive(Clone, Debug)]
pub struct JobFolder {
    state: PathBuf,
    dir: PathBuf,
}

/// The value that stands for: there is no deadline.
const NO_DEADLINE: u64 = u64::MAX;

impl JobFolder {
    /// The folder of `token` under the state folder.
    pub fn of(state: &Path, token: Token) -> Self {
        Self { state: state.to_owned(), dir: state.join("jobs").join(token.to_string()) }
    }

    /// Makes the folder.
    pub fn create(&self) -> io::Result<()> {
        // Who could put another folder in the place of this one could take the job's socket, and its commands.
        make_private_folder(&self.state)?;
        make_private_folder(&self.state.join("jobs"))?;
        make_new_folder(&self.dir)
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The state folder that it is in.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The keeper's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// The keeper's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("keeper.log")
    }

    /// The note of who tries to bury this keeper: its time is that of the last try.
    pub fn burial(&self) -> PathBuf {
        self.dir.join("burial")
    }

    /// Writes the record, whole or not at all.
    pub fn write_record(&self, record: &KeeperRecord) -> io::Result<()> {
        let part = self.dir.join("keeper.json.part");
        make_private_file(&part)?.write_all(&serde_json::to_vec(record)?)?;
        fs::rename(&part, self.dir.join("keeper.json"))
    }

    /// Whether a keeper has written its record.
    pub fn is_recorded(&self) -> bool {
        self.dir.join("keeper.json").exists()
    }

    /// Reads the record.
    pub fn read_record(&self) -> io::Result<KeeperRecord> {
        Ok(serde_json::from_slice(&read(&self.dir.join("keeper.json"))?)?)
    }

    /// Whether the record is whole, and not as this version writes it.
    pub fn is_of_another_version(&self) -> bool {
        let record = read(&self.dir.join("keeper.json")).unwrap_or_default();
        let as_any = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&record);
        as_any.is_ok() && serde_json::from_slice::<KeeperRecord>(&record).is_err()
    }

    /// Writes down what a wrapped driver's cleanup is to be called with, for whoever buries this keeper. From here on
    /// it is due.
    pub fn write_rites(&self, rites: &CommandBlock) -> io::Result<()> {
        let part = self.dir.join("rites.part");
        make_private_file(&part)?.write_all(&rites.to_bytes())?;
        fs::rename(&part, self.dir.join("rites"))
    }

    /// What a wrapped driver's cleanup is to be called with; none if it isn't due, or was called.
    pub fn read_rites(&self) -> io::Result<Option<CommandBlock>> {
        match read(&self.dir.join("rites")) {
            Ok(bytes) => CommandBlock::from_bytes(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The wrapped driver's cleanup was called.
    pub fn remove_rites(&self) {
        let _ = fs::remove_file(self.dir.join("rites"));
    }

    /// Opens the file of the deadline, for the keeper.
    pub fn create_deadline(&self) -> io::Result<Deadline> {
        let deadline = Deadline(make_private_file(&self.dir.join("deadline"))?);
        deadline.set(None)?;
        Ok(deadline)
    }

    /// Opens the file of the deadline, for a stage.
    pub fn open_deadline(&self) -> io::Result<Deadline> {
        Ok(Deadline(open_regular(&self.dir.join("deadline"))?))
    }

    /// Removes the folder and, if it still names this token, the owner's pointer to it.
    pub fn remove(&self, owner: &Owner, token: Token) {
        let pointer = owner_file(&self.state, owner);
        if read(&pointer).is_ok_and(|text| text == token.to_string().as_bytes()) {
            let _ = fs::remove_file(pointer);
        }
        self.remove_all();
    }

    /// Removes the folder, also where this process has no descriptor left to read it with.
    pub fn remove_all(&self) {
        if fs::remove_dir_all(&self.dir).is_err() {
            for file in [
                "socket",
                "keeper.json",
                "keeper.json.part",
                "deadline",
                "rites",
                "rites.part",
                "burial",
                "keeper.log",
            ] {
                let _ = fs::remove_file(self.dir.join(file));
            }
            let _ = fs::remove_dir(&self.dir);
        }
    }

    /// As [`JobFolder::remove`], where no record says who the owner is.
    pub fn remove_unrecorded(&self, token: Token) {
        for entry in fs::read_dir(self.state.join("owners")).into_iter().flatten().flatten() {
            if read(&entry.path()).is_ok_and(|text| text == token.to_string().as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        self.remove_all();
    }

    /// Notes that `token` is the newest try of `owner`.
    pub fn point(&self, owner: &Owner, token: Token) -> io::Result<()> {
        let pointer = owner_file(&self.state, owner);
        make_private_folder(&self.state.join("owners"))?;
        let part = pointer.with_extension(token.to_string());
        make_private_file(&part)?.write_all(token.to_string().as_bytes())?;
        fs::rename(part, pointer)
    }
}

/// The keeper of this record, if it lives and is in sight.
pub fn keeper_of(record: &KeeperRecord, token: Token) -> Option<ProcId> {
    let pid = Pid::new(i32::try_from(record.pid).ok()?)?;
    let process = ProcId::of(pid)?;
    // The number may be another process's by now.
    let words = fs::read(format!("/proc/{}/cmdline", record.pid)).ok()?;
    let short = &token.to_string()[..8];
    words.split(|byte| *byte == 0).any(|word| word == short.as_bytes()).then_some(process)
}

/// The newest try of `owner` on this host that is known.
pub fn newest_try(state: &Path, owner: &Owner) -> Option<Token> {
    String::from_utf8(read(&owner_file(state, owner)).ok()?).ok()?.parse().ok()
}

fn owner_file(state: &Path, owner: &Owner) -> PathBuf {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let name: String = owner
        .as_str()
        .bytes()
        .map(|b| if safe(b) { char::from(b).to_string() } else { format!("%{b:02x}") })
        .collect();
    let tail = name.len().saturating_sub(120);
    state.join("owners").join(&name[tail..])
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Until when the holds of a job are proven, where its stages can read it without asking anybody: eight bytes,
/// nanoseconds on this host's boot clock.
#[derive(Debug)]
pub struct Deadline(File);

impl Deadline {
    /// Writes the deadline; `None`: there is none.
    pub fn set(&self, deadline: Option<Moment>) -> io::Result<()> {
        let nanos = deadline.map_or(NO_DEADLINE, |m| u64::try_from(m.0.as_nanos()).unwrap_or(NO_DEADLINE));
        self.0.write_all_at(&nanos.to_le_bytes(), 0)
    }

    /// Reads the deadline. One that can't be read is over: who can't prove that it holds must stop.
    pub fn get(&self) -> Option<Moment> {
        let mut bytes = [0; 8];
        match self.0.read_exact_at(&mut bytes, 0).map(|()| u64::from_le_bytes(bytes)) {
            Ok(NO_DEADLINE) => None,
            Ok(nanos) => Some(Moment(Duration::from_nanos(nanos))),
            Err(_) => Some(Moment(Duration::ZERO)),
        }
    }
}
