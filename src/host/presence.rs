//! Who lives, told by the kernel: a file whose flock is held by the process that it speaks for.
//!
//! A flock(2) belongs to the *open file description*: it is held until the last file descriptor of that description
//! is closed, however the process ends. That makes it proof of life, with three consequences:
//! - it must not leak: the file is opened close-on-exec, and who forks without exec must close it in the child. In the
//!   moment between a fork and its exec the child holds it as well;
//! - opening the same file once more in the same process makes another description, which conflicts with the first;
//! - whoever removes the file does so while holding its flock, so the name must be looked at again after getting it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use super::{
    filesystem::shared_with_others,
    private_folder::{Others, hand_to_owner, make_folder},
};

/// The longest record that is read back, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Why a presence can't be claimed or looked at.
#[derive(Debug, Error)]
pub enum PresenceError {
    /// The directory can't be made or opened. Give one on a local filesystem that the user of the runner may write.
    #[error("can't use {path} for the files that show who lives: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The directory belongs to another user, or others may write in it, so that what lies in it proves nothing.
    /// Make it `0700` and the runner's own, or name another one.
    #[error(
        "{path} is not private (owner {owner}, mode {mode:o}): it must belong to this user, with mode 700"
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user id that it belongs to.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Other hosts, or a program or system apart, take part in the filesystem: a living process may look dead from there.
    /// Give a folder on a disk of this host.
    #[error(
        "can't use {path} for the files that show who lives: it is on {filesystem}, from where other hosts may look \
         without seeing their locks: name a folder on a local disk (`state`)"
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// The filesystem's name.
        filesystem: &'static str,
    },
    /// The token has a file already. A token is made for one incarnation: use a new one.
    #[error("{0} is there already: this token is in use, or was")]
    Taken(PathBuf),
    /// A file can't be opened, locked, written or removed; the cause says why. A token that can't be looked at must be
    /// taken for alive.
    #[error("can't use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The record can't be written as JSON: a fault of the program.
    #[error("a record for {path} can't be written as JSON: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A directory with one file per token, each locked for as long as its process lives.
#[derive(Clone, Debug)]
pub struct PresenceDir {
    path: PathBuf,
}

/// What [`PresenceDir::probe`] saw.
#[derive(Debug)]
pub enum Probe {
    /// Somebody holds the flock: the process of this token lives, or another one is burying it right now.
    Alive,
    /// The process of this token is dead. Who gets this holds the flock and has the exclusive right to bury it: to
    /// end what it left behind, and then to [`Presence::remove`] it. Dropping it leaves the burial to the next one.
    Dead {
        /// The file, locked by us.
        presence: Presence,
        /// What it had written, as JSON; torn if it died while replacing a record longer than a page.
        record: Vec<u8>,
    },
    /// There is no such file: it was buried, or never there.
    Missing,
}

/// A locked file: while this lives, [`PresenceDir::probe`] of its token says alive, to every process.
///
/// Dropping it gives the flock back and leaves the file, as a crash would; [`Presence::remove`] is the orderly end.
#[derive(Debug)]
pub struct Presence {
    file: File,
    path: PathBuf,
}

impl PresenceDir {
    /// Opens the directory, and makes it (mode 700) if it is missing.
    ///
    /// # Errors
    /// [`PresenceError::Directory`], [`PresenceError::NotPrivate`], [`PresenceError::Shared`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PresenceError> {
        let path = path.into();
        if let Some(filesystem) = shared_with_others(&path) {
            return Err(PresenceError::Shared { path, filesystem });
        }
        match make_folder(&path) {
            Ok(None) => Ok(Self { path }),
            Ok(Some(Others { owner, mode })) => Err(PresenceError::NotPrivate { path, owner, mode }),
            Err(source) => Err(PresenceError::Directory { path, source }),
        }
    }

    /// Makes the file of `token`, locked and with `record` in it as JSON from its first moment on.
    ///
    /// # Errors
    /// [`PresenceError::Taken`] if the token has a file; [`PresenceError::File`], [`PresenceError::Record`].
    pub fn claim(&self, token: Uuid, record: &impl Serialize) -> Result<Presence, PresenceError> {
        // It is made under a name that nobody looks at, since a file with the token's name and no lock would be one
        // to be buried. A crash before that name is gone leaves a small file that nobody minds.
        let hidden = self.path.join(format!(".{}", Uuid::new_v4().hyphenated()));
        let mut presence = self.create(hidden.clone())?;
        let path = self.file_of(token);
        let linked = presence.write(record).and_then(|()| match fs::hard_link(&hidden, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(PresenceError::Taken(path.clone())),
            outcome => outcome.map_err(|source| PresenceError::File { path: path.clone(), source }),
        });
        let removed = fs::remove_file(&hidden);
        linked?;
        presence.path = path;
        removed.map_err(|source| PresenceError::File { path: hidden, source })?;
        Ok(presence)
    }

    /// Looks whether the process of `token` lives; if it is dead, takes over its flock.
    ///
    /// # Errors
    /// [`PresenceError::File`]: nothing is known then, so the process must be taken for alive.
    pub fn probe(&self, token: Uuid) -> Result<Probe, PresenceError> {
        let path = self.file_of(token);
        loop {
            let opened = options().open(&path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
            let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
            let file = match opened {
                Ok((true, file)) => file,
                // None of ours is a link, a pipe or the like: it says nothing, and keeps a living one from its place.
                Ok((false, _)) => return Self::make_way(path),
                Err(error) if is_link(&error) => return Self::make_way(path),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Probe::Missing),
                Err(source) => return Err(PresenceError::File { path, source }),
            };
            let presence = Presence { file, path: path.clone() };
            if !presence.try_lock()? {
                return Ok(Probe::Alive);
            }
            // It may have been buried, and even claimed anew, between the opening and the locking.
            if presence.is_linked() {
                let record = presence.read()?;
                return Ok(Probe::Dead { presence, record });
            }
        }
    }

    /// Removes what is no file of a presence.
    fn make_way(path: PathBuf) -> Result<Probe, PresenceError> {
        tracing::warn!(path = %path.display(), "this is no file of ours, and is removed");
        fs::remove_file(&path).map_err(|source| PresenceError::File { path, source })?;
        Ok(Probe::Missing)
    }

    /// The tokens that have a file, in no order.
    ///
    /// # Errors
    /// [`PresenceError::Directory`].
    pub fn tokens(&self) -> Result<Vec<Uuid>, PresenceError> {
        let failed = |source| PresenceError::Directory { path: self.path.clone(), source };
        let mut tokens = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            tokens.extend(name.to_str().and_then(|name| Uuid::parse_str(name).ok()));
        }
        Ok(tokens)
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file_of(&self, token: Uuid) -> PathBuf {
        self.path.join(token.hyphenated().to_string())
    }

    /// A locked file at `path`, where there was none.
    fn create(&self, path: PathBuf) -> Result<Presence, PresenceError> {
        let file = match options().create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(source) => return Err(PresenceError::File { path, source }),
        };
        hand_to_owner(&file, &self.path);
        let presence = Presence { file, path };
        if presence.try_lock()? { Ok(presence) } else { Err(PresenceError::Taken(presence.path.clone())) }
    }
}

impl Presence {
    /// Replaces the record.
    ///
    /// It is one write over the old one, padded with white space, so a reader after a crash finds the old record or
    /// the new one, unless it is longer than a page and the crash was in the middle of it.
    ///
    /// # Errors
    /// [`PresenceError::File`], [`PresenceError::Record`].
    pub fn write(&self, record: &impl Serialize) -> Result<(), PresenceError> {
        let mut bytes = serde_json::to_vec(record)
            .map_err(|source| PresenceError::Record { path: self.path.clone(), source })?;
        bytes.push(b'\n');
        let written = self.file.metadata().and_then(|old| {
            let padded = bytes.len().max(usize::try_from(old.len()).unwrap_or(0));
            bytes.resize(padded, b' ');
            self.file.write_all_at(&bytes, 0)
        });
        written.map_err(|source| self.failed(source))
    }

    /// Whether the file is still in its place: its name leads to it, and not to nothing or to another file. If not,
    /// this presence protects nobody any more.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        let (Ok(ours), Ok(named)) = (self.file.metadata(), fs::symlink_metadata(&self.path)) else {
            return false;
        };
        ours.nlink() > 0 && ours.dev() == named.dev() && ours.ino() == named.ino()
    }

    /// Removes the file, and gives the flock back only then.
    ///
    /// # Errors
    /// [`PresenceError::File`]; the flock is given back all the same. A file that is gone is removed.
    pub fn remove(self) -> Result<(), PresenceError> {
        // A file of the same name that isn't ours has been claimed since.
        if !self.is_linked() {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn try_lock(&self) -> Result<bool, PresenceError> {
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, PresenceError> {
        let mut record = Vec::new();
        let read = (&self.file).take(MAX_RECORD_BYTES).read_to_end(&mut record);
        read.map_err(|source| self.failed(source))?;
        Ok(record)
    }

    fn failed(&self, source: io::Error) -> PresenceError {
        PresenceError::File { path: self.path.clone(), source }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Closing would do, if no child is between fork and exec at this moment: unlocking frees it for all copies.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens close-on-exec, as std always does, and never through a symbolic link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

#[cfg(test)]
mod tests;
