//! Outside of CI each `acquire` is its own owner: a note in the state folder says which, for `release`.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::lock::{LockName, Owner};

fn file(state: &Path, name: &LockName) -> PathBuf {
    state.join("acquired").join(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_str().as_bytes()).to_string())
}

/// Notes that `owner` took `name` from here.
pub fn write(state: &Path, name: &LockName, owner: &Owner) -> io::Result<()> {
    let file = file(state, name);
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    out.write_all(owner.as_str().as_bytes())
}

/// Who took `name` from here last.
pub fn read(state: &Path, name: &LockName) -> Option<Owner> {
    fs::read_to_string(file(state, name)).ok().map(Owner::stored)
}

/// Forgets it.
pub fn remove(state: &Path, name: &LockName) {
    let _ = fs::remove_file(file(state, name));
}
