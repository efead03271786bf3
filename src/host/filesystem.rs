//! On which filesystems the locks of files can be trusted.
//!
//! The magic numbers are those of linux/magic.h and of the filesystems' own headers, as statfs(2) has them.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a path can't hold what is shared by locking.
#[derive(Debug, Error)]
pub enum FsError {
    /// It lies on a network filesystem, whose locks may be lost or seen by one host only. Name a path on a local
    /// disk; locks for many hosts need the `dynamodb` store.
    #[error(
        "{path} is on {filesystem}, a network filesystem, where a file's lock can't be trusted: \
         give a path on a local disk, or use the dynamodb store for locks of many hosts"
    )]
    Network {
        /// The path.
        path: PathBuf,
        /// The filesystem's name.
        filesystem: &'static str,
    },
    /// A program answers for it (FUSE, virtiofs), or another system (9p): nobody knows how it locks. Name a path on a
    /// local disk.
    #[error(
        "{path} is on {filesystem}, which hands a file's locks to another program or system: \
         give a path on a local disk"
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// The filesystem's name.
        filesystem: &'static str,
    },
    /// It lies in the layers of a container, which no other container sees and which are gone with it. Mount a volume
    /// and name a path there.
    #[error(
        "{path} is on {filesystem}, the inside of a container, which nobody else sees and which goes with it: \
         mount a volume from the host and give a path on it"
    )]
    Layered {
        /// The path.
        path: PathBuf,
        /// The filesystem's name.
        filesystem: &'static str,
    },
    /// It is none of those known to lock well. Name a path on one that is (ext4, xfs, btrfs, zfs, tmpfs …).
    #[error(
        "{path} is on a filesystem that isn't known to lock well (statfs type {magic:#x}): \
         give a path on ext4, xfs, btrfs, zfs or tmpfs"
    )]
    Unknown {
        /// The path.
        path: PathBuf,
        /// What statfs(2) says.
        magic: u32,
    },
    /// Nothing can be learned about the path; the cause says why.
    #[error("can't tell on which filesystem {path} is: {source}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What is known of a kind of filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// Its locks hold for all processes of this host, and only for them.
    Local(&'static str),
    /// Other hosts take part in it.
    Network(&'static str),
    /// Another program or system answers for it.
    Foreign(&'static str),
    /// A container's layers.
    Layered(&'static str),
    /// Not in the list.
    Unknown,
}

impl Filesystem {
    /// The filesystem with the number `magic` in the `f_type` of statfs(2).
    ///
    /// ```
    /// use pipeline_lock::host::filesystem::Filesystem;
    /// assert_eq!(Filesystem::of(0xef53), Filesystem::Local("ext4"));
    /// ```
    #[must_use]
    pub fn of(magic: u32) -> Self {
        match magic {
            // ext2 and ext3 have the same number.
            0x0000_ef53 => Self::Local("ext4"),
            0x5846_5342 => Self::Local("xfs"),
            0x9123_683e => Self::Local("btrfs"),
            0x2fc1_2fc1 => Self::Local("zfs"),
            0x0102_1994 => Self::Local("tmpfs"),
            0x8584_58f6 => Self::Local("ramfs"),
            0xf2f5_2010 => Self::Local("f2fs"),
            0x3153_464a => Self::Local("jfs"),
            0xca45_1a4e => Self::Local("bcachefs"),
            0x5265_4973 => Self::Local("reiserfs"),
            0x0000_3434 => Self::Local("nilfs2"),
            0x0000_6969 => Self::Network("NFS"),
            0x0000_517b => Self::Network("SMB"),
            0xff53_4d42 => Self::Network("CIFS"),
            0xfe53_4d42 => Self::Network("SMB2"),
            0x00c3_6400 => Self::Network("CephFS"),
            0x0bd0_0bd0 => Self::Network("Lustre"),
            0x4750_4653 => Self::Network("GPFS"),
            0x1983_0326 => Self::Network("BeeGFS"),
            0x0116_1970 => Self::Network("GFS2"),
            0x7461_636f => Self::Network("OCFS2"),
            0x5346_414f | 0x6b41_4653 => Self::Network("AFS"),
            0x7375_7245 => Self::Network("Coda"),
            0x6573_5546 => Self::Foreign("FUSE or virtiofs"),
            0x0102_1997 => Self::Foreign("9p"),
            0x786f_4256 => Self::Foreign("vboxsf"),
            0xbacb_acbc => Self::Foreign("vmhgfs"),
            0x794c_7630 => Self::Layered("overlayfs"),
            0x6175_6673 => Self::Layered("aufs"),
            _ => Self::Unknown,
        }
    }

    fn check(self, path: &Path, magic: u32) -> Result<(), FsError> {
        let path = path.to_owned();
        match self {
            Self::Local(_) => Ok(()),
            Self::Network(filesystem) => Err(FsError::Network { path, filesystem }),
            Self::Foreign(filesystem) => Err(FsError::Foreign { path, filesystem }),
            Self::Layered(filesystem) => Err(FsError::Layered { path, filesystem }),
            Self::Unknown => Err(FsError::Unknown { path, magic }),
        }
    }
}

/// Checks that `path`, or the nearest directory above it that is there, lies on a filesystem whose locks can be
/// trusted.
///
/// # Errors
/// [`FsError`], which names the filesystem and the way out.
pub fn check_locks_well(path: &Path) -> Result<(), FsError> {
    let magic = magic_of(path).map_err(|source| FsError::Unreadable { path: path.to_owned(), source })?;
    Filesystem::of(magic).check(path, magic)
}

/// The filesystem of `path`, or of the nearest directory above it that is there, if others than this host may take part
/// in it and not see its locks.
#[must_use]
pub fn shared_with_others(path: &Path) -> Option<&'static str> {
    match Filesystem::of(magic_of(path).ok()?) {
        Filesystem::Network(name) | Filesystem::Foreign(name) => Some(name),
        Filesystem::Local(_) | Filesystem::Layered(_) | Filesystem::Unknown => None,
    }
}

/// What statfs(2) says of `path`, or of the nearest directory above it that is there.
fn magic_of(path: &Path) -> io::Result<u32> {
    for place in std::path::absolute(path)?.ancestors() {
        match rustix::fs::statfs(place) {
            // The field is signed on some architectures and of 32 or 64 bits: only the lower 32 matter.
            Ok(found) => return Ok((i128::from(found.f_type) & 0xffff_ffff) as u32),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(magic: u32) -> String {
        Filesystem::of(magic).check(Path::new("/srv/locks.db"), magic).unwrap_err().to_string()
    }

    #[test]
    fn local_filesystems_are_taken() {
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x8584_58f6, 0x2fc1_2fc1, 0xf2f5_2010] {
            Filesystem::of(magic).check(Path::new("/x"), magic).unwrap();
        }
    }

    #[test]
    fn a_refusal_names_the_path_the_filesystem_and_the_way_out() {
        for (magic, name, way_out) in [
            (0x6969, "NFS", "dynamodb"),
            (0xff53_4d42, "CIFS", "dynamodb"),
            (0xfe53_4d42, "SMB2", "dynamodb"),
            (0x6573_5546, "FUSE", "local disk"),
            (0x0102_1997, "9p", "local disk"),
            (0x794c_7630, "overlayfs", "mount a volume"),
            (0xdead_beef, "0xdeadbeef", "ext4"),
        ] {
            let text = refusal(magic);
            assert!(text.starts_with("/srv/locks.db "), "{text}");
            assert!(text.contains(name) && text.contains(way_out), "{text}");
        }
    }

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_what_is_above_it() {
        // proc is on every Linux, and is no place for files.
        let error = check_locks_well(Path::new("/proc/self/not/there/yet")).unwrap_err();
        assert!(matches!(error, FsError::Unknown { magic: 0x9fa0, .. }), "{error}");
    }

    #[test]
    fn a_shared_memory_directory_is_taken() {
        // /dev/shm is a tmpfs wherever POSIX shared memory works (shm_overview(7)).
        check_locks_well(Path::new("/dev/shm/pipeline-lock/not/there/yet")).unwrap();
    }

    #[test]
    fn a_path_through_a_file_can_not_be_judged() {
        let error = check_locks_well(Path::new("/proc/version/below")).unwrap_err();
        assert!(
            matches!(&error, FsError::Unreadable { source, .. } if source.kind() == ErrorKind::NotADirectory)
        );
    }
}
