//! Where cgroup v2 is mounted, and which cgroup this process is in.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The directory of this process's own cgroup v2; none if there is none that it can see.
///
/// Read each time: a service manager may move a process.
pub(super) fn own_cgroup() -> Option<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    let groups = fs::read("/proc/self/cgroup").ok()?;
    let own = own_path(&groups)?;
    let directories = mounts.split(|byte| *byte == b'\n').filter_map(cgroup2_mount);
    directories.filter_map(|mount| mount.directory_of(&own)).find(|directory| directory.is_dir())
}

/// One mount of cgroup v2: which cgroup is visible where.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The cgroup at the top of the mount.
    root: PathBuf,
    /// The directory that it is mounted on.
    point: PathBuf,
}

impl Mount {
    /// The directory of the cgroup `path`, if it lies under this mount.
    fn directory_of(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok()?;
        // A process outside of our cgroup namespace has a path that begins with "/..".
        let inside = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        inside.then(|| self.point.join(below))
    }
}

/// Takes a line of mountinfo (proc_pid_mountinfo(5)) if it is of a cgroup v2: field 4 is the root, 5 the mount
/// point; after the optional fields and a dash comes the type of the filesystem.
fn cgroup2_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    (*fields.get(dash + 1)? == b"cgroup2").then_some(())?;
    Some(Mount { root: unescape(fields.get(3)?), point: unescape(fields.get(4)?) })
}

/// The path after `0::`, which stands for cgroup v2 (cgroups(7)).
fn own_path(groups: &[u8]) -> Option<PathBuf> {
    let line = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(OsString::from_vec(line.to_vec())))
}

/// Undoes the kernel's `\040` for white space and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(mount: &str, groups: &str) -> Option<PathBuf> {
        cgroup2_mount(mount.as_bytes())?.directory_of(&own_path(groups.as_bytes())?)
    }

    #[test]
    fn the_unified_hierarchy_is_found() {
        let mount = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let own = directory(mount, "0::/system.slice/gitlab-runner.service\n");
        assert_eq!(own, Some("/sys/fs/cgroup/system.slice/gitlab-runner.service".into()));
    }

    #[test]
    fn the_hybrid_hierarchy_is_found_beside_version_1() {
        let v1 = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd";
        let v2 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let groups = "2:cpuacct:/a\n1:name=systemd:/b\n0::/\n";
        assert_eq!(directory(v1, groups), None);
        assert_eq!(directory(v2, groups), Some("/sys/fs/cgroup/unified/".into()));
        assert_eq!(directory(v2, "1:name=systemd:/b\n"), None);
    }

    #[test]
    fn a_mount_of_a_part_shows_only_that_part() {
        let mount = "41 31 0:38 /docker/abc /sys/fs/my\\040cgroup ro - cgroup2 cgroup2 rw";
        assert_eq!(directory(mount, "0::/docker/abc/job\n"), Some("/sys/fs/my cgroup/job".into()));
        assert_eq!(directory(mount, "0::/docker/abcd\n"), None);
    }

    #[test]
    fn a_cgroup_outside_of_the_namespace_has_no_directory() {
        let mount = "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(directory(mount, "0::/../other\n"), None);
    }
}
