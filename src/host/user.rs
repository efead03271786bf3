//! A user of this host, with all that a process of theirs has from the system: ids, groups, home.

use std::{fs, io, process::Command};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All groups, as initgroups(3) would set them.
    pub groups: Vec<u32>,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

impl User {
    /// The user `name`, from wherever this host knows its users (getent(1) and id(1) ask all of them; without getent,
    /// `/etc/passwd`); none if there is no such user. The name is no option of these: it does not begin with `-`.
    ///
    /// # Errors
    /// When id(1) can't be run or says something else than numbers.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let Some(line) = passwd_line(name)? else { return Ok(None) };
        let odd =
            || io::Error::new(io::ErrorKind::InvalidData, format!("the entry of user {name} is odd: {line}"));
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, uid, gid, _, home, shell] = fields[..] else { return Err(odd()) };
        Ok(Some(Self {
            name: name.to_owned(),
            uid: uid.parse().map_err(|_| odd())?,
            gid: gid.parse().map_err(|_| odd())?,
            groups: groups(name)?,
            home: home.to_owned(),
            shell: if shell.is_empty() { "/bin/sh" } else { shell }.to_owned(),
        }))
    }

    /// Makes this process, or a child between fork and exec, one of the user's, for good. Allocates nothing if
    /// `groups` are [`User::gids`]. Of a process with several threads it changes the calling one alone.
    ///
    /// # Errors
    /// `PermissionDenied` unless this process is root's.
    pub fn become_thread(uid: u32, gid: u32, groups: &[Gid]) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_groups(groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }

    /// The groups, as the kernel takes them.
    #[must_use]
    pub fn gids(&self) -> Vec<Gid> {
        self.groups.iter().copied().map(Gid::from_raw).collect()
    }

    /// Whether the mode bits let the user write into a folder of this owner, group and mode.
    #[must_use]
    pub fn may_write(&self, uid: u32, gid: u32, mode: u32) -> bool {
        if uid == self.uid {
            mode & 0o200 != 0
        } else if self.groups.contains(&gid) {
            mode & 0o020 != 0
        } else {
            mode & 0o002 != 0
        }
    }
}

/// The user's line in the form of passwd(5).
fn passwd_line(name: &str) -> io::Result<Option<String>> {
    let text = match Command::new("getent").args(["passwd", name]).output() {
        Ok(output) => output.stdout,
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::read("/etc/passwd")?,
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
    let is_theirs = |line: &&str| line.split(':').next() == Some(name);
    Ok(text.lines().find(is_theirs).map(str::to_owned))
}

fn groups(name: &str) -> io::Result<Vec<u32>> {
    let output = Command::new("id").args(["-G", name]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let groups: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
    match groups {
        Ok(groups) if !groups.is_empty() => Ok(groups),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(io::Error::other(format!("`id -G {name}` does not tell the user's groups: {text}{said}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_ids_and_home_and_an_unknown_one_is_not() {
        let root = User::find("root").unwrap().expect("every host has root");
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert!(root.groups.contains(&0));
        assert_eq!(User::find("no-such-user-of-this-host").unwrap(), None);
        assert_eq!(User::find("0").unwrap(), None, "a name, no number");
    }

    #[test]
    fn the_first_class_that_fits_decides_about_writing() {
        let (name, home, shell) = ("ci".to_owned(), String::new(), String::new());
        let user = User { name, uid: 7, gid: 8, groups: vec![8, 9], home, shell };
        assert!(user.may_write(7, 1, 0o700) && user.may_write(1, 9, 0o020) && user.may_write(1, 1, 0o002));
        assert!(!user.may_write(7, 9, 0o077) && !user.may_write(1, 9, 0o702) && !user.may_write(1, 1, 0o770));
    }
}
