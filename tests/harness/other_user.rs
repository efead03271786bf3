//! A second user of the host, for tests that need one: only root may act as another.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::geteuid;

use super::Host;

/// The other user.
pub const NOBODY: &str = "nobody";
pub const NOBODYS_ID: u32 = 65534;

impl Host {
    /// A host on which another user may pass through the test's own folder; none where nobody can act as another user.
    /// tests/run says so then.
    pub fn with_another_user(more: &str) -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("NOT RUN: this test needs root, to act as another user");
            return None;
        }
        let host = Self::local(more);
        host.let_others("", 0o711);
        Some(host)
    }

    /// A host whose jobs run as the other user.
    pub fn running_as_another_user(more: &str) -> Option<Self> {
        let host = Self::with_another_user(&format!("run_as: {NOBODY}\n{more}"))?;
        host.let_others("gates", 0o1777);
        Some(host)
    }

    fn let_others(&self, folder: &str, mode: u32) {
        fs::set_permissions(self.path().join(folder), fs::Permissions::from_mode(mode))
            .expect("it is root's");
    }
}
