//! A folder that root makes for a user, so that nobody can make root give away another one.
//!
//! The rule: only a folder that root has just made itself is given to the user, never one that was there, never what
//! is in it, and only where nobody but root could have put anything else in its place: each folder above it is root's
//! and can be written by root alone (a sticky one, such as /tmp, by others too).

use std::{
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, fchown},
    path::{Component, Path},
};

use rustix::fs::{CWD, Mode, OFlags, openat};
use thiserror::Error;

use super::user::User;

/// Why a folder was not made.
#[derive(Debug, Error)]
pub enum GivenFolderError {
    /// The system says no, or something else than a folder is there.
    #[error("the folder {path} can't be made for user {user}: {source}")]
    System {
        /// The folder.
        path: String,
        /// Whom it is for.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others could put something else in its place. Make it by hand, or choose a place below root's own folders.
    #[error(
        "the folder {path} is not made for user {user}: {above} above it can be changed by others than root. \
         Make it yourself (mkdir, chown), or name one below folders that are root's alone"
    )]
    NotRootsAlone {
        /// The folder.
        path: String,
        /// Whom it is for.
        user: String,
        /// The folder above it.
        above: String,
    },
}

/// What became of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It was made, and is the user's.
    Made,
    /// It was there, and stays as it is. Its mode lets the user write into it.
    There,
    /// It was there, and stays as it is. By its mode the user can't write into it.
    Closed,
}

/// Makes the absolute `path` for `user`, unless it is there. Folders above it that are missing become root's.
///
/// # Errors
/// See [`GivenFolderError`]; nothing was given to anybody then.
pub fn give_folder(path: &Path, user: &User) -> Result<Given, GivenFolderError> {
    let system = |source: io::Error| GivenFolderError::System {
        path: path.display().to_string(),
        user: user.name.clone(),
        source,
    };
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(system(io::Error::new(io::ErrorKind::InvalidInput, "`..` has no place in it")));
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => return Err(system(io::ErrorKind::NotADirectory.into())),
        Ok(found) => {
            let open = user.may_write(found.uid(), found.gid(), found.mode());
            return Ok(if open { Given::There } else { Given::Closed });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
    }
    let above = path.parent().ok_or_else(|| system(io::ErrorKind::InvalidInput.into()))?;
    let check = || match others_folder(above).map_err(system)? {
        None => Ok(()),
        Some(folder) => Err(GivenFolderError::NotRootsAlone {
            path: path.display().to_string(),
            user: user.name.clone(),
            above: folder.display().to_string(),
        }),
    };
    check()?;
    DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(system)?;
    check()?;
    // Not recursive: that would take one that is there by now, a link as well.
    DirBuilder::new().mode(0o700).create(path).map_err(system)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let made = openat(CWD, path, flags, Mode::empty()).map_err(|error| system(error.into()))?;
    fchown(&made, Some(user.uid), Some(user.gid)).map_err(system)?;
    Ok(Given::Made)
}

/// Of a folder and those above it, as far as they are there, one in which others than root can put something else in
/// the place of what is there.
fn others_folder(folder: &Path) -> io::Result<Option<&Path>> {
    for folder in folder.ancestors() {
        match fs::symlink_metadata(folder) {
            Ok(found) if is_roots_alone(&found) => {}
            Ok(_) => return Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether nobody but root can put something else in the place of what is in this folder. A link is looked at as one.
fn is_roots_alone(found: &Metadata) -> bool {
    const STICKY: u32 = 0o1000;
    found.is_dir() && found.uid() == 0 && (found.mode() & 0o022 == 0 || found.mode() & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn nobody() -> User {
        User::find("nobody").unwrap().expect("this host has the user nobody")
    }

    /// Only root gives folders to others: elsewhere these tests can't be run, and say so.
    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("NOT RUN: this test needs root, to make a folder for another user");
        }
        root
    }

    #[test]
    fn a_missing_folder_is_made_for_the_user_and_what_is_above_it_is_roots() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/builds");
        assert_eq!(give_folder(&path, &nobody()).unwrap(), Given::Made);
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!((owner(&path), owner(path.parent().unwrap())), (nobody().uid, 0));
        assert_eq!(give_folder(&path, &nobody()).unwrap(), Given::There);
    }

    #[test]
    fn a_folder_that_is_there_stays_as_it_is() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(give_folder(dir.path(), &nobody()).unwrap(), Given::Closed);
        assert_eq!(fs::metadata(dir.path()).unwrap().uid(), 0);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(give_folder(&file, &nobody()).is_err());
    }

    #[test]
    fn no_link_leads_to_a_folder_that_is_given_away() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        assert_eq!(give_folder(&link, &nobody()).unwrap(), Given::Closed, "it is there");
        let below = give_folder(&link.join("builds"), &nobody()).unwrap_err();
        assert!(matches!(below, GivenFolderError::NotRootsAlone { .. }), "{below}");
        let dangling = dir.path().join("dangling");
        symlink(dir.path().join("nowhere"), &dangling).unwrap();
        assert!(give_folder(&dangling, &nobody()).is_err());
        assert_eq!(fs::metadata(&target).unwrap().uid(), 0);
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn below_a_folder_that_others_can_change_nothing_is_given_away() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let error = give_folder(&open.join("builds"), &nobody()).unwrap_err();
        assert!(error.to_string().contains("can be changed by others"), "{error}");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(give_folder(&open.join("builds"), &nobody()).unwrap(), Given::Made);
        std::os::unix::fs::chown(&open, Some(nobody().uid), None).unwrap();
        assert!(give_folder(&open.join("more"), &nobody()).is_err());
    }
}
