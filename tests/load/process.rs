//! What this process has of its host: memory and descriptors.

use std::fs;

/// Memory and descriptors at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Memory in use, in KiB.
    pub resident: u64,
    /// The most that it ever was, in KiB.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Usage {
    pub fn now() -> Self {
        Self { resident: status("VmRSS:"), peak: status("VmHWM:"), descriptors: descriptors() }
    }
}

pub fn descriptors() -> usize {
    // One is the folder's own, while it is read.
    fs::read_dir("/proc/self/fd").expect("/proc is there").count() - 1
}

fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
