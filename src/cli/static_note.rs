//! Outside of CI each `acquire` is its own owner, and each `reserve` has a token: a note in the state folder says
//! which, for `release`. It has a line for each, as locks of one name can be held in several stores.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use uuid::Uuid;

use crate::lock::LockName;

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

/// How many lines a note keeps: those of holds that ended by themselves are never taken out.
const MOST: usize = 16;

/// Notes who or what has `name` from here.
pub fn write(state: &Path, note: Note, name: &LockName, line: &str) -> anyhow::Result<()> {
    let mut lines = read(state, note, name);
    lines.push(line.to_owned());
    let file = note.file(state, name);
    put(&file, &lines[lines.len().saturating_sub(MOST)..])
        .with_context(|| format!("what `release` has to know can't be written to {}", file.display()))
}

/// Who or what has `name` from here, the last one last.
pub fn read(state: &Path, note: Note, name: &LockName) -> Vec<String> {
    let text = fs::read_to_string(note.file(state, name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Forgets a line.
pub fn remove(state: &Path, note: Note, name: &LockName, line: &str) {
    let mut lines = read(state, note, name);
    lines.retain(|other| other != line);
    let file = note.file(state, name);
    // One that can't be written names somebody who holds nothing, which does no harm.
    let _ = if lines.is_empty() { fs::remove_file(file) } else { put(&file, &lines) };
}

fn put(file: &Path, lines: &[String]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let part = file.with_extension(Uuid::new_v4().to_string());
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let put = out.write_all(text.as_bytes()).and_then(|()| fs::rename(&part, file));
    if put.is_err() {
        let _ = fs::remove_file(&part);
    }
    put
}
