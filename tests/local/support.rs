//! Requests, and this test program as another process.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use pipeline_lock::{
    lock::{EpochMs, LockName, LockState, Value},
    store::{Consistency, Expected, LocalStore, Store, StoreError, Swap},
};
use tempfile::{TempDir, tempdir};

/// What a child process finds in its environment: the database that it is to use.
const DATABASE: &str = "PIPELINE_LOCK_TEST_DATABASE";

/// The test's own name, as the test runner knows it, which begins after the crate's name.
pub fn name_of<T>(_: T) -> &'static str {
    let path = std::any::type_name::<T>();
    path.split_once("::").expect("a function of a crate").1
}

/// This test again as another process, which sees `database` as [`role`].
pub fn child(test: &str, database: &Path) -> Command {
    in_child(Command::new(env::current_exe().unwrap()), test, database)
}

/// As [`child`], with mounts of its own that end with it.
pub fn child_with_own_mounts(test: &str, database: &Path) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg(if rustix::process::geteuid().is_root() { "-m" } else { "-rm" });
    unshare.arg(env::current_exe().unwrap());
    in_child(unshare, test, database)
}

fn in_child(mut command: Command, test: &str, database: &Path) -> Command {
    command.args(["--exact", test, "--nocapture"]).env(DATABASE, database);
    command
}

/// In a child: the database that it is to use.
pub fn role() -> Option<PathBuf> {
    env::var_os(DATABASE).map(PathBuf::from)
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&said));
}

/// Waits until `done`, and fails after 30 s.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs one future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn a_name() -> LockName {
    LockName::new("gitlab.example/team/app/production").unwrap()
}

/// Writes a first, free document.
pub async fn begin(store: &dyn Store) -> LockState {
    match store
        .swap(&a_name(), Expected::Free { seed: EpochMs(1000) }, &LockState::new(EpochMs(0)))
        .await
        .unwrap()
    {
        Swap::Swapped(state) => state,
        Swap::Conflict(found) => panic!("a new database has a document: {found:?}"),
    }
}

/// How often a document was raised.
pub fn count(state: &LockState) -> u64 {
    match state.extra.get("Count") {
        Some(Value::N(digits)) => digits.parse().unwrap(),
        None => 0,
        other => panic!("no count: {other:?}"),
    }
}

/// Raises the number by one, however often others come first.
pub async fn raise(store: &dyn Store) -> Result<LockState, StoreError> {
    let missing = || StoreError::Refused("the document is gone".into());
    let mut current = store.read(&a_name(), Consistency::Strong).await?.ok_or_else(missing)?;
    loop {
        let mut next = current.clone();
        next.extra.insert("Count".into(), Value::number(count(&current) + 1));
        next.seal(store.now());
        match store.swap(&a_name(), Expected::This(&current), &next).await? {
            Swap::Swapped(state) => return Ok(state),
            Swap::Conflict(found) => current = found.ok_or_else(missing)?,
        }
    }
}

/// Opens the database, which must be usable.
pub fn open(path: &Path) -> LocalStore {
    LocalStore::open(path).unwrap_or_else(|error| panic!("{error}"))
}

/// A folder and the path of a database in it that is not there yet.
pub fn place() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("locks.db");
    (folder, path)
}

/// A database with one document in it, closed.
pub fn made() -> (TempDir, PathBuf) {
    let (folder, path) = place();
    block_on(begin(&open(&path)));
    (folder, path)
}

/// The message of a refusal, which names the file, the cause and a way out.
pub fn refusal(path: &Path, cause: &str) -> String {
    match LocalStore::open(path) {
        Err(StoreError::Refused(message)) => {
            assert!(message.contains("locks.db") && message.contains(cause), "{message}");
            assert!(message.contains(": "), "no way out: {message}");
            message
        }
        other => panic!("expected a refusal ({cause}), got {other:?}"),
    }
}
