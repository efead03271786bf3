//! Outside of CI each `acquire` is its own owner, and each `reserve` has a token: a note in the state folder says
//! which, for `release`. It has a line for each, as locks of one name can be held in several stores.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use crate::{
    host::private_folder::{make_missing, make_new},
    lock::{LockName, MAX_HOLDERS},
};

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Who took a lock: the owners.
    Acquired,
    /// What keeps a lock from everyone: the reservations' tokens.
    Reserved,
}

impl Note {
    fn file(self, state: &Path, name: &LockName) -> PathBuf {
        let folder = match self {
            Self::Acquired => "acquired",
            Self::Reserved => "reserved",
        };
        state.join(folder).join(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_str().as_bytes()).to_string())
    }
}

/// How many lines a note keeps, those of a lock that has all the holders it can: those of holds that ended by
/// themselves are never taken out.
const MOST: usize = MAX_HOLDERS;

/// Notes who or what has `name` from here.
pub fn write(state: &Path, note: Note, name: &LockName, line: &str) -> anyhow::Result<()> {
    let file = note.file(state, name);
    let add = || {
        let _one_at_a_time = lock_folder(&file)?;
        let mut lines = read(state, note, name);
        lines.push(line.to_owned());
        put(&file, &lines[lines.len().saturating_sub(MOST)..])
    };
    add().with_context(|| format!("what `release` has to know can't be written to {}", file.display()))
}

/// Who or what has `name` from here, the last one last.
pub fn read(state: &Path, note: Note, name: &LockName) -> Vec<String> {
    let text = fs::read_to_string(note.file(state, name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Forgets a line.
pub fn remove(state: &Path, note: Note, name: &LockName, line: &str) {
    let file = note.file(state, name);
    let Ok(_one_at_a_time) = lock_folder(&file) else { return };
    let mut lines = read(state, note, name);
    lines.retain(|other| other != line);
    // One that can't be written names somebody who holds nothing, which does no harm.
    let _ = if lines.is_empty() { fs::remove_file(file) } else { put(&file, &lines) };
}

/// Keeps others from changing a note of the same folder, until the result is dropped: several commands may do so at once.
fn lock_folder(note: &Path) -> io::Result<File> {
    let folder = note.parent().unwrap_or(Path::new("."));
    make_missing(folder)?;
    let folder = File::open(folder)?;
    flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

fn put(file: &Path, lines: &[String]) -> io::Result<()> {
    let part = file.with_extension(Uuid::new_v4().to_string());
    let mut out = make_new(&part, OpenOptions::new().write(true))?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let put = out.write_all(text.as_bytes()).and_then(|()| fs::rename(&part, file));
    if put.is_err() {
        let _ = fs::remove_file(&part);
    }
    put
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn as_many_as_can_hold_a_lock_note_it_at_the_same_time_and_none_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let name = LockName::new("lab/boards").unwrap();
        thread::scope(|threads| {
            for n in 0..MAX_HOLDERS {
                let (state, name) = (state.path(), &name);
                threads.spawn(move || write(state, Note::Acquired, name, &n.to_string()).unwrap());
            }
        });
        let mut lines = read(state.path(), Note::Acquired, &name);
        lines.sort_by_key(|line| line.parse::<usize>().unwrap());
        assert_eq!(lines, (0..MAX_HOLDERS).map(|n| n.to_string()).collect::<Vec<_>>());
        lines.iter().for_each(|line| remove(state.path(), Note::Acquired, &name, line));
        assert!(!Note::Acquired.file(state.path(), &name).exists());
    }
}
