//! Where the file is: one real path, looked at before SQLite opens it and again with every request.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::trouble::{refused, system_trouble};
use crate::{
    host::{
        filesystem::{FsError, check_locks_well},
        private_folder::make_missing,
    },
    store::StoreError,
};

/// The places of one store on this host.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The database, absolute, with a parent that has no links in it.
    pub(super) path: PathBuf,
    /// The folder beside it for kernel locks and bells.
    pub(super) folder: PathBuf,
}

/// Which file is at the path, as the kernel tells files apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl Place {
    /// Makes `path` absolute, and its parent folder if there is none (0700).
    pub(super) fn find(path: &Path) -> Result<Self, StoreError> {
        let absolute = std::path::absolute(path)
            .map_err(|error| refused(path, &format!("is no path ({error})"), NAME_A_FILE))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(refused(path, "is no path of a file", NAME_A_FILE));
        };
        locks_well(parent)?;
        make_folder(parent)
            .map_err(|error| system_trouble(path, "has no folder, and none can be made", &error))?;
        let parent = parent
            .canonicalize()
            .map_err(|error| system_trouble(path, "has a folder that cannot be used", &error))?;
        let path = parent.join(name);
        let mut folder = OsString::from(&path);
        folder.push(".d");
        Ok(Self { path, folder: folder.into() })
    }

    /// Which file is there; `None` if there is none. What is no file, or has a second name, is refused: by
    /// two names there are two logs of changes (`-wal`), and two processes would not see each other's holds.
    pub(super) fn look(&self) -> Result<Option<FileId>, StoreError> {
        let path = &self.path;
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system_trouble(path, "cannot be looked at", &error)),
        };
        let kind = found.file_type();
        if kind.is_symlink() {
            return Err(refused(
                path,
                "is a symbolic link",
                "name the file itself as the store's path, the same one for every process of this host",
            ));
        }
        if kind.is_dir() {
            return Err(refused(path, "is a directory", "name a file in it as the store's path"));
        }
        if !kind.is_file() {
            return Err(refused(path, "is no regular file", NAME_A_FILE));
        }
        if found.nlink() > 1 {
            return Err(refused(
                path,
                &format!("has {} names (hard links)", found.nlink()),
                "keep one, and name it as the store's path for every process of this host",
            ));
        }
        Ok(Some(FileId::of(&found)))
    }

    /// Refuses a file that is mounted by itself, as a container can have it: what SQLite keeps beside it would be
    /// another one in each place, and two processes would not see each other's holds.
    pub(super) fn is_mounted_with_its_folder(&self) -> Result<(), StoreError> {
        let mount = |path: &Path| {
            let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
            // Linux 5.8 and newer say it.
            (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
        };
        match (mount(&self.path), self.path.parent().and_then(mount)) {
            (Some(file), Some(folder)) if file != folder => Err(refused(
                &self.path,
                "is mounted by itself",
                "mount the folder that it is in, so that its log (-wal) and its locks are the same ones for all",
            )),
            _ => Ok(()),
        }
    }

    /// The log of changes that SQLite keeps beside the database.
    pub(super) fn log(&self) -> PathBuf {
        let mut log = OsString::from(&self.path);
        log.push("-wal");
        log.into()
    }

    /// Refuses to go on when another file, or none, has come to the path since `opened` was opened.
    pub(super) fn still_has(&self, opened: FileId) -> Result<(), StoreError> {
        if self.look()? == Some(opened) {
            return Ok(());
        }
        Err(refused(
            &self.path,
            "was removed or replaced while it was in use",
            "locks taken before and after are apart: end the jobs that hold one, then start again",
        ))
    }

    /// Makes the folder for kernel locks and bells (0700) if it is missing.
    pub(super) fn make_local_folder(&self) -> Result<(), StoreError> {
        let folder = &self.folder;
        match make_missing(folder).and_then(|()| fs::symlink_metadata(folder)) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(refused(folder, "is no directory", "remove it; it is made anew")),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(refused(folder, "is no directory", "remove it; it is made anew"))
            }
            Err(error) => Err(system_trouble(folder, "cannot be made", &error)),
        }
    }
}

impl FileId {
    pub(super) fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// Refuses a filesystem whose locks may not hold, before anything is made there. What cannot be told about
/// the folder shows when it is used.
fn locks_well(parent: &Path) -> Result<(), StoreError> {
    match check_locks_well(parent) {
        Ok(()) | Err(FsError::Unreadable { .. }) => Ok(()),
        Err(error) => Err(StoreError::Refused(format!("the lock database cannot be there: {error}"))),
    }
}

const NAME_A_FILE: &str = "name a file as the store's path";

fn make_folder(parent: &Path) -> io::Result<()> {
    if parent.is_dir() {
        return Ok(());
    }
    make_missing(parent)
}
