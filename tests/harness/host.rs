//! A host of its own for each test: a folder with the configuration, the state, the local store, and a home.

use std::{
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Job, Process, eventually, within};

/// The lock of the jobs here, by the built-in rule.
pub const LOCK: &str = "gitlab.example.com/shop/web";

/// How soon a lock is free after the end of its job's last process.
const FREE_WITHIN: Duration = Duration::from_secs(1);

/// Where the locks of a host are.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a file of its own.
    Local,
    /// In this table.
    Table(String),
}

/// A host. Dropped, it takes all of its processes with it.
pub struct Host {
    pub site: Site,
    _dir: tempfile::TempDir,
}

/// What a process has to know of its host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    pub dir: PathBuf,
    pub local: bool,
}

impl Store {
    /// A new table in DynamoDB Local.
    pub fn table() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let table = format!("stages-{}-{}-{count}", std::process::id(), uuid::Uuid::new_v4().simple());
        let mut create = Command::new(env!("CARGO_BIN_EXE_pipeline-lock"));
        let args = ["table", "create", "--table", &table, "--region", "eu-central-1", "--endpoint-url"];
        let output = amazon(create.args(args).arg(endpoint())).output().expect("the program starts");
        assert!(output.status.success(), "no table: {}", String::from_utf8_lossy(&output.stderr));
        Self::Table(table)
    }

    fn yaml(&self, dir: &Path, endpoint: &str) -> String {
        match self {
            Self::Local => format!("store: {{ local: {{ path: {}/locks.db }} }}\n", dir.display()),
            Self::Table(table) => format!(
                "store: {{ dynamodb: {{ table: {table}, region: eu-central-1, endpoint_url: \"{endpoint}\" }} }}\n"
            ),
        }
    }
}

/// Where DynamoDB Local listens.
pub fn endpoint() -> String {
    std::env::var("PIPELINE_LOCK_TEST_DYNAMODB")
        .expect("PIPELINE_LOCK_TEST_DYNAMODB is not set: run these tests by tests/run")
}

/// Made-up keys, and no way to any real account.
fn amazon(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
}

impl Host {
    /// A host with a local store; `more` is added to its file.
    pub fn local(more: &str) -> Self {
        Self::new(&Store::Local, more)
    }

    /// A host with a table of its own.
    pub fn dynamodb(more: &str) -> Self {
        Self::new(&Store::table(), more)
    }

    /// A host with this store. On a table the lease is as short as the times in these files allow.
    pub fn new(store: &Store, more: &str) -> Self {
        let endpoint = if let Store::Table(_) = store { endpoint() } else { String::new() };
        Self::through(store, &endpoint, more)
    }

    /// A host whose jobs reach their table at `url`; the test itself sees it directly.
    pub fn through(store: &Store, url: &str, more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pl-").tempdir().expect("a temporary folder");
        let site = Site {
            dir: dir.path().canonicalize().expect("it is there"),
            local: matches!(store, Store::Local),
        };
        let host = Self { site, _dir: dir };
        for folder in ["home", "tmp", "gates"] {
            fs::create_dir(host.path().join(folder)).expect("the folder is writable");
        }
        let direct = if let Store::Table(_) = store { endpoint() } else { String::new() };
        host.write("config.yaml", &(store.yaml(host.path(), url) + &host.settings(more)));
        host.write("direct.yaml", &(store.yaml(host.path(), &direct) + &host.settings(more)));
        host
    }

    fn settings(&self, more: &str) -> String {
        let mut text = String::new();
        for (key, value) in [("lease", "9s"), ("heartbeat", "1s"), ("kill_grace", "2s")] {
            if !more.contains(&format!("{key}:")) {
                text += &format!("{key}: {value}\n");
            }
        }
        if !more.contains("state:") {
            text += &format!("state: {}/state\n", self.path().display());
        }
        format!("{text}{more}\n")
    }

    pub fn path(&self) -> &Path {
        &self.site.dir
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).expect("the folder is writable");
    }

    /// A job for a runner of this host.
    pub fn job(&self, id: u64) -> Job {
        Job::new(&self.site, id)
    }

    /// What `status NAME --json` says.
    #[track_caller]
    pub fn status_of(&self, name: &str) -> Value {
        let mut command = self.site.program("direct.yaml");
        let output = command.args(["status", name, "--json"]).output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("status speaks JSON")
    }

    #[track_caller]
    fn ids(&self, list: &str) -> Vec<u64> {
        let status = self.status_of(LOCK);
        let entries = status[list].as_array().expect("a list").iter();
        entries.map(|entry| entry["who"]["job_id"].as_u64().unwrap_or(0)).collect()
    }

    /// The ids of the jobs that hold the lock.
    #[track_caller]
    pub fn holders(&self) -> Vec<u64> {
        self.ids("holders")
    }

    /// The ids of the jobs that wait for it.
    #[track_caller]
    pub fn queue(&self) -> Vec<u64> {
        self.ids("queue")
    }

    /// Waits until these jobs wait, in this order.
    #[track_caller]
    pub fn until_queued(&self, ids: &[u64]) {
        eventually(&format!("the queue {ids:?}"), || self.queue() == ids);
    }

    /// The job's last process has just ended: within a second the lock is free and nothing is left of any job.
    #[track_caller]
    pub fn is_clean_soon(&self) {
        self.is_clean_within(FREE_WITHIN);
    }

    /// As [`Host::is_clean_soon`], where more time is due.
    #[track_caller]
    pub fn is_clean_within(&self, limit: Duration) {
        within(limit, "the lock is free", || {
            let status = self.status_of(LOCK);
            status["holders"] == Value::Array(vec![]) && status["queue"] == Value::Array(vec![])
        });
        self.nothing_is_left_within(limit);
    }

    /// No keeper, no process of a job, no file of either.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        self.nothing_is_left_within(FREE_WITHIN);
    }

    #[track_caller]
    pub fn nothing_is_left_within(&self, limit: Duration) {
        let start = std::time::Instant::now();
        loop {
            let mut left: Vec<String> =
                self.processes().iter().map(|process| format!("{process:?}")).collect();
            let folders = ["state/jobs", "state/owners"].map(|folder| self.path().join(folder));
            for folder in folders.into_iter().chain([self.holds()]) {
                let entries = fs::read_dir(folder).into_iter().flatten().flatten();
                left.extend(entries.map(|entry| entry.path().display().to_string()));
            }
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < limit, "left behind: {left:#?}");
            // To look at all processes costs time that theirs may need.
            thread::sleep(limit / 100);
        }
    }

    /// Where the files are by which others know who lives.
    pub fn holds(&self) -> PathBuf {
        self.path().join(if self.site.local { "locks.db.d/holds" } else { "state/holds" })
    }

    /// All processes of this host.
    pub fn processes(&self) -> Vec<Process> {
        Process::with(&self.site.tag())
    }

    /// The living keepers.
    pub fn keepers(&self) -> Vec<Process> {
        self.processes()
            .into_iter()
            .filter(|process| process.args().get(1).is_some_and(|arg| arg == "keeper"))
            .collect()
    }

    /// Lets whoever waits at this gate go on.
    pub fn open(&self, gate: &str) {
        self.write(&format!("gates/{gate}"), "");
    }

    /// A line of a script that stops at a gate.
    pub fn gate(&self, gate: &str) -> String {
        let path = self.path().join("gates").join(gate).display().to_string();
        format!("touch {path}.reached; until [ -e {path} ]; do sleep 0.02; done\n")
    }

    /// Waits until somebody stands at the gate.
    #[track_caller]
    pub fn until_reached(&self, gate: &str) {
        let file = self.path().join("gates").join(format!("{gate}.reached"));
        eventually(&format!("somebody at gate {gate}"), || file.exists());
    }

    /// A line of a script that tells the number of a process, by a file of this name.
    pub fn tells(&self, name: &str, pid: &str) -> String {
        let path = self.path().join(name).display().to_string();
        format!("echo {pid} >{path}.part; mv {path}.part {path}\n")
    }

    /// The process whose number a script told.
    #[track_caller]
    pub fn told(&self, name: &str) -> Process {
        let pid = self.told_pid(name);
        Process::find(pid).unwrap_or_else(|| panic!("process {name} ({pid}) is dead"))
    }

    #[track_caller]
    fn told_pid(&self, name: &str) -> i32 {
        super::found(name, || fs::read_to_string(self.path().join(name)).ok()?.trim().parse().ok())
    }
}

impl Site {
    /// The program with one of the host's files, and the environment of the host's runner.
    pub fn program(&self, file: &str) -> Command {
        hand_nothing_down();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline-lock"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.join("home"))
            .env("USER", "runner")
            .env("TEST_HOST", &self.dir)
            .stdin(Stdio::null())
            .arg("--config")
            .arg(self.dir.join(file));
        amazon(&mut command);
        command
    }

    fn tag(&self) -> String {
        format!("TEST_HOST={}", self.dir.display())
    }
}

/// The runner starts a stage with the descriptors 0 to 2 alone: what this process itself was started with is
/// not handed down either.
fn hand_nothing_down() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let open = fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
        let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for number in numbers.into_iter().filter(|number| *number > 2) {
            // SAFETY: a flag of the descriptor is set if it is open, and nothing else is done with it.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
        }
    });
}

impl Drop for Host {
    fn drop(&mut self) {
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            // All are stopped first: none may start another while the others are killed.
            left.iter().for_each(|process| process.signal(Signal::STOP));
            left.iter().for_each(|process| process.signal(Signal::KILL));
            thread::sleep(Duration::from_millis(5));
        }
    }
}
