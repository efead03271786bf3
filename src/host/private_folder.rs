//! Folders and files of this user alone: made so, and refused where others could have put something else in their place.
//!
//! What root makes in another user's folder is that user's: who looks after the runner's locks as root must leave
//! nothing there that the runner can't use.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use rustix::fs::OFlags;

/// A folder that is not this user's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Others {
    /// The user id that it belongs to.
    pub owner: u32,
    /// Its permissions.
    pub mode: u32,
}

/// Makes `path` and what is missing above it (mode 700), or looks at what is there.
///
/// `Some`: others can change it, so that what is in it proves nothing: it belongs to another user (root takes any
/// user's), or its group or everybody may write in it.
///
/// # Errors
/// What the system says: it can't be made, or is no folder.
pub fn make_folder(path: &Path) -> io::Result<Option<Others>> {
    make_missing(path)?;
    let found = fs::metadata(path)?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let me = rustix::process::geteuid();
    let is_ours = owner == me.as_raw() || me.is_root();
    Ok((!is_ours || mode & 0o022 != 0).then_some(Others { owner, mode }))
}

/// Makes `path` and what is missing above it (mode 700); what is there stays as it is.
///
/// # Errors
/// What the system says: it can't be made, or is no folder.
pub fn make_missing(path: &Path) -> io::Result<()> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(above) if above != Path::new("") => {
                make_missing(above)?;
                DirBuilder::new().mode(0o700).create(path)
            }
            _ => Err(error),
        },
        made => made,
    };
    match made {
        Ok(()) => {
            hand_folder_to_owner(path);
            Ok(())
        }
        // Also one that somebody else was quicker to make.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a file or folder that root has just made in `folder` to the folder's owner. Of all others it stays as it is.
pub fn hand_to_owner(made: &File, folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(above) = fs::metadata(folder)
        && above.uid() != 0
        && let Err(error) = fchown(made, Some(above.uid()), Some(above.gid()))
    {
        tracing::debug!(folder = %folder.display(), %error, "what was made in it stays root's");
    }
}

/// The owner could have put something else in the place of what was made, but nothing that is worth having: an open or
/// foreign folder stays whose it is.
fn hand_folder_to_owner(path: &Path) {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    if let Ok(made) = open
        && let Some(above) = path.parent()
        && made.metadata().is_ok_and(|found| found.uid() == 0 && found.mode() & 0o7777 == 0o700)
    {
        hand_to_owner(&made, above);
    }
}

/// As [`make_folder`], where what others can change is an error that says how to go on.
///
/// # Errors
/// As there; `PermissionDenied` for a folder that is not this user's alone.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    match make_folder(path)? {
        None => Ok(()),
        Some(Others { owner, mode }) => {
            let text = format!(
                "{} is not private (owner {owner}, mode {mode:o}): it must belong to this user, with mode 700",
                path.display()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
    }
}

/// Makes a folder (mode 700) where there is nothing.
///
/// # Errors
/// What the system says; `AlreadyExists` if there is something.
pub fn make_new_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    hand_folder_to_owner(path);
    Ok(())
}

/// Makes a new file (mode 600) in the place of what is there, whatever that is: no link and no pipe is followed.
///
/// # Errors
/// What the system says; `AlreadyExists` if somebody puts something there at the same time.
pub fn make_private_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make_new(path, OpenOptions::new().write(true).read(true))
}

/// Makes a file (mode 600) where there is nothing.
///
/// # Errors
/// What the system says; `AlreadyExists` if there is something.
pub fn make_new(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.create_new(true).mode(0o600).open(path)?;
    if let Some(folder) = path.parent() {
        hand_to_owner(&file, folder);
    }
    Ok(file)
}

/// Opens a file to be written or locked, or makes it (mode 600). What is no regular file, or has a second name, was put
/// there by somebody else: it makes way, so that nobody writes through it or waits for it.
///
/// # Errors
/// What the system says.
pub fn open_or_make(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    const TRIES: usize = 3;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits().cast_signed());
    for _ in 1..TRIES {
        match options.open(path) {
            Ok(file) => {
                let found = file.metadata()?;
                if found.is_file() && found.nlink() <= 1 {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match make_new(path, &mut options.clone()) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    made => return made,
                }
            }
            Err(error) if is_of_no_file(&error) => {}
            Err(error) => return Err(error),
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    options.create(true).open(path)
}

/// A link (open(2): ELOOP), or a pipe or socket that nobody reads (ENXIO).
fn is_of_no_file(error: &io::Error) -> bool {
    [rustix::io::Errno::LOOP, rustix::io::Errno::NXIO]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Opens what is there for reading, and at once: no link is followed, and a pipe is no file.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no regular file", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_in_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        assert_eq!(make_folder(&folder).unwrap(), None);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for mode in [0o770, 0o1777, 0o702] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(make_folder(&folder).unwrap().map(|others| others.mode), Some(mode));
            assert_eq!(make_private_folder(&folder).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        make_private_folder(&folder).unwrap();
    }

    #[test]
    fn neither_a_link_nor_a_pipe_is_written_through() {
        let place = tempfile::tempdir().unwrap();
        let (target, path) = (place.path().join("target"), place.path().join("file"));
        fs::write(&target, "as it was").unwrap();
        symlink(&target, &path).unwrap();
        make_private_file(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"as it was");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&target, &path).unwrap();
        make_private_file(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"as it was");
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        make_private_file(&path).unwrap();
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!((made.is_file(), made.mode() & 0o777), (true, 0o600));
    }

    #[test]
    fn what_is_no_file_of_ones_own_makes_way() {
        let place = tempfile::tempdir().unwrap();
        let (target, path) = (place.path().join("target"), place.path().join("file"));
        fs::write(&target, "as it was").unwrap();
        let plants: [&dyn Fn(); 4] = [
            &|| symlink(&target, &path).unwrap(),
            &|| fs::hard_link(&target, &path).unwrap(),
            &|| mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
            &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        ];
        for plant in plants {
            plant();
            open_or_make(&path, OpenOptions::new().append(true)).unwrap().write_all(b"x").unwrap();
            open_or_make(&path, OpenOptions::new().append(true)).unwrap().write_all(b"y").unwrap();
            assert_eq!(
                (fs::read(&path).unwrap(), fs::read(&target).unwrap()),
                (b"xy".into(), b"as it was".into())
            );
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn only_a_regular_file_is_read_and_nobody_waits_for_another() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        assert_eq!(open_regular(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let link = place.path().join("link");
        symlink("/etc/passwd", &link).unwrap();
        assert!(open_regular(&link).is_err());
        assert_eq!(open_regular(&place.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
