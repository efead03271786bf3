//! Outside of CI each `acquire` is its own owner: a note in the state folder says which, for `release`. It has a line
//! for each, as locks of one name can be held in several stores.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use uuid::Uuid;

use crate::lock::{LockName, Owner};

fn file(state: &Path, name: &LockName) -> PathBuf {
    state.join("acquired").join(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_str().as_bytes()).to_string())
}

/// How many owners a note keeps: those of holds that ended by themselves are never taken out.
const MOST: usize = 16;

/// Notes that `owner` took `name` from here.
pub fn write(state: &Path, name: &LockName, owner: &Owner) -> anyhow::Result<()> {
    let mut owners = read(state, name);
    owners.push(owner.clone());
    let file = file(state, name);
    put(&file, &owners[owners.len().saturating_sub(MOST)..])
        .with_context(|| format!("what `release` has to know can't be written to {}", file.display()))
}

/// Who took `name` from here, the last one last.
pub fn read(state: &Path, name: &LockName) -> Vec<Owner> {
    let text = fs::read_to_string(file(state, name)).unwrap_or_default();
    text.lines().map(Owner::stored).collect()
}

/// Forgets that `owner` took it.
pub fn remove(state: &Path, name: &LockName, owner: &Owner) {
    let mut owners = read(state, name);
    owners.retain(|other| other != owner);
    let file = file(state, name);
    // One that can't be written names somebody who holds nothing, which does no harm.
    let _ = if owners.is_empty() { fs::remove_file(file) } else { put(&file, &owners) };
}

fn put(file: &Path, owners: &[Owner]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let part = file.with_extension(Uuid::new_v4().to_string());
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let lines: String = owners.iter().map(|owner| format!("{owner}\n")).collect();
    let put = out.write_all(lines.as_bytes()).and_then(|()| fs::rename(&part, file));
    if put.is_err() {
        let _ = fs::remove_file(&part);
    }
    put
}
