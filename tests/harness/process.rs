//! Looking at processes through `/proc`. A zombie counts as gone: it runs nothing and holds nothing.

use std::{fmt, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// A process that was alive when it was looked at; the start time tells it from a later one of the same number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    started: u64,
}

impl Process {
    /// The living process of this number.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_dead = matches!(fields[0], "Z" | "X");
        (!is_dead).then_some(Self { pid, started: fields[19].parse().ok()? })
    }

    /// All living processes but this one.
    pub fn all() -> Vec<Self> {
        let me = std::process::id().cast_signed();
        let names = fs::read_dir("/proc").expect("/proc is there").flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != me).filter_map(Self::find).collect()
    }

    /// Those that were started with this `NAME=VALUE` in their environment.
    pub fn with(entry: &str) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.has(entry)).collect()
    }

    /// Those that have this file open.
    pub fn with_file(path: &Path) -> Vec<Self> {
        let has = |process: &Self| {
            let open = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
            open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == path))
        };
        Self::all().into_iter().filter(has).collect()
    }

    pub fn lives(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Whether it was started with this `NAME=VALUE`.
    pub fn has(self, entry: &str) -> bool {
        self.strings("environ").iter().any(|found| found == entry)
    }

    pub fn args(self) -> Vec<String> {
        self.strings("cmdline")
    }

    /// Sends a signal, unless the process is gone.
    pub fn signal(self, signal: Signal) {
        if self.lives() {
            let _ = kill_process(Pid::from_raw(self.pid).expect("a process has a number"), signal);
        }
    }

    fn strings(self, file: &str) -> Vec<String> {
        let bytes = fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.args().join(" "))
    }
}
