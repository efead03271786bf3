//! The proof that a job's processes are dead, by the kernel: a file that the job's script locks (flock), whose open
//! description all that it starts inherits. It can be locked by others when the last of them is gone.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::fs::{FlockOperation, flock};

use crate::harness::Host;

/// The file, as the test looks at it.
pub struct Proof {
    file: File,
    path: PathBuf,
    /// When it was last seen that a process of the job lives.
    pub last_alive: Option<Instant>,
}

impl Proof {
    pub fn on(host: &Host) -> Self {
        let path = path(host.path());
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        Self { file: file.expect("the folder is writable"), path, last_alive: None }
    }

    /// The lines of a script that locks it for all that the script starts.
    pub fn line(&self) -> String {
        format!("exec 9>>{}; flock -x 9\n", self.path.display())
    }

    /// Whether a process of the job lives. Shared, and for a moment only: the next script's own lock waits for it.
    pub fn anybody_lives(&mut self) -> bool {
        let lives = flock(&self.file, FlockOperation::NonBlockingLockShared).is_err();
        if lives {
            self.last_alive = Some(Instant::now());
        } else {
            flock(&self.file, FlockOperation::Unlock).expect("it was locked");
        }
        lives
    }
}

fn path(host: &Path) -> PathBuf {
    host.join("proof")
}
