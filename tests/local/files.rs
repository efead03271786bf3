//! What happens to a file that cannot be used: one clear error with its cause and the way out, and never
//! another file instead.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

use pipeline_lock::{
    lock::{CodecError, EpochMs, LockState},
    store::{Consistency, Expected, LocalStore, Store, StoreError},
};
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{a_name, begin, block_on, count, made, open, place, raise, refusal};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_made_is_its_users_alone() {
    let (_folder, path) = place();
    let path = path.with_file_name("a/b/locks.db");
    let store = open(&path);
    block_on(begin(&store));
    let parent = path.parent().unwrap();
    assert_eq!([mode(parent), mode(parent.parent().unwrap()), mode(store.local_dir().unwrap())], [0o700; 3]);
    let log = path.with_file_name("locks.db-wal");
    assert_eq!([mode(&path), mode(&log), mode(&path.with_file_name("locks.db-shm"))], [0o600; 3]);
}

#[test]
fn paths_of_one_file_are_one_store() {
    let (folder, path) = made();
    let link = folder.path().join("link");
    symlink(folder.path(), &link).unwrap();
    let store = open(&link.join("locks.db"));
    assert_eq!(store.path(), path);
    assert_eq!(store.describe(), path.display().to_string());
    assert_eq!(store.local_dir(), Some(path.with_file_name("locks.db.d").as_path()));
}

#[test]
fn a_directory_is_refused() {
    let (_folder, path) = place();
    fs::create_dir(&path).unwrap();
    refusal(&path, "is a directory");
}

#[test]
fn a_link_is_not_followed() {
    let (folder, path) = made();
    let link = folder.path().join("link.locks.db");
    symlink(&path, &link).unwrap();
    refusal(&link, "is a symbolic link");
    let nowhere = folder.path().join("nowhere");
    let dangling = folder.path().join("dangling.locks.db");
    symlink(&nowhere, &dangling).unwrap();
    refusal(&dangling, "is a symbolic link");
    assert!(!nowhere.exists());
}

#[test]
fn a_second_name_is_refused() {
    let (folder, path) = made();
    fs::hard_link(&path, folder.path().join("other.locks.db")).unwrap();
    refusal(&path, "has 2 names");
}

#[test]
fn what_stands_in_the_place_of_the_users_file_is_refused_and_not_written_to() {
    let plants: [fn(&Path, &Path); 3] = [
        |victim, users| symlink(victim, users).unwrap(),
        |victim, users| fs::hard_link(victim, users).unwrap(),
        |_, users| mknodat(CWD, users, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
    ];
    for plant in plants {
        let (folder, path) = made();
        let (victim, users) = (folder.path().join("victim"), folder.path().join("locks.db.d/users"));
        fs::write(&victim, "as it was").unwrap();
        fs::remove_file(&users).unwrap();
        plant(&victim, &users);
        refusal(&path, "users cannot be used");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    }
}

#[test]
fn a_socket_is_refused() {
    let (_folder, path) = place();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    refusal(&path, "is no regular file");
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let (folder, _) = place();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    refusal(&file.join("locks.db"), "has no folder, and none can be made");
}

#[test]
fn a_file_in_the_place_of_the_local_folder_is_refused() {
    let (_folder, path) = place();
    fs::write(path.with_file_name("locks.db.d"), "").unwrap();
    refusal(&path, "locks.db.d is no directory");
}

#[test]
fn text_is_refused_and_left_alone() {
    let (_folder, path) = place();
    let text = "some notes of mine\n".repeat(500);
    fs::write(&path, &text).unwrap();
    refusal(&path, "is no SQLite database");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn an_empty_file_is_refused() {
    let (_folder, path) = place();
    File::create(&path).unwrap();
    refusal(&path, "is empty");
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let (_folder, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE locks (id INTEGER)").unwrap();
    let before = fs::read(&path).unwrap();
    refusal(&path, "of another program");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_layout_is_refused() {
    let (_folder, path) = made();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(refusal(&path, "layout 2 of a newer pipeline-lock").contains("install the newer version"));
}

#[test]
fn a_damaged_database_is_told() {
    let (_folder, path) = made();
    let database = Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    let mut file = File::options().write(true).open(&path).unwrap();
    let length = file.seek(SeekFrom::End(0)).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length - 4096).unwrap()]).unwrap();
    drop(file);
    let error = block_on(open(&path).read(&a_name(), Consistency::Strong)).unwrap_err();
    assert!(
        matches!(&error, StoreError::Refused(m) if m.contains("is damaged") && m.contains("move it away")),
        "{error}"
    );
}

#[test]
fn a_damaged_document_is_an_error_of_its_lock_alone() {
    let (_folder, path) = made();
    let store = open(&path);
    let other = pipeline_lock::lock::LockName::new("other").unwrap();
    let new = LockState::new(EpochMs(0));
    block_on(store.swap(&other, Expected::Free { seed: EpochMs(1) }, &new)).unwrap();
    for (document, foreign) in [("{\"Form", false), ("{}", true)] {
        let database = Connection::open(&path).unwrap();
        database.execute("UPDATE locks SET document = ?1 WHERE name <> 'other'", [document]).unwrap();
        let error = block_on(store.read(&a_name(), Consistency::Strong)).unwrap_err();
        let StoreError::Document { name, error } = error else { panic!("{error}") };
        assert_eq!(name, a_name());
        assert_eq!(matches!(error, CodecError::Foreign), foreign, "{error}");
        let swap = block_on(store.swap(&a_name(), Expected::Free { seed: EpochMs(1) }, &new));
        assert!(matches!(swap, Err(StoreError::Document { .. })), "it was written over: {swap:?}");
        let listed = block_on(store.list(Consistency::Strong)).unwrap();
        assert_eq!(
            listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            std::slice::from_ref(&other)
        );
    }
}

#[test]
fn a_database_that_is_kept_busy_is_unavailable_after_five_seconds() {
    let (_folder, path) = made();
    let store = open(&path);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let error = block_on(raise(&store)).unwrap_err();
    let waited = begun.elapsed();
    assert!(
        matches!(&error, StoreError::Unavailable(m) if m.contains("in use by another process")),
        "{error}"
    );
    assert!(waited > Duration::from_secs(4) && waited < store.request_deadline(), "{waited:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(count(&block_on(raise(&store)).unwrap()), 1);
}

#[test]
fn a_file_that_is_removed_or_replaced_while_in_use_is_refused() {
    let (folder, path) = made();
    let store = open(&path);
    let gone = |store: &LocalStore| {
        let error = block_on(raise(store)).unwrap_err();
        assert!(matches!(&error, StoreError::Refused(m) if m.contains("was removed or replaced")), "{error}");
        let (name, seed) = (a_name(), EpochMs(1));
        let first = block_on(store.swap(&name, Expected::Free { seed }, &LockState::new(seed)));
        assert!(matches!(first, Err(StoreError::Refused(_))), "a first write went into it: {first:?}");
        let read = block_on(store.read(&name, Consistency::Strong));
        assert!(matches!(read, Err(StoreError::Refused(_))), "{read:?}");
        let listed = block_on(store.list(Consistency::Strong));
        assert!(matches!(listed, Err(StoreError::Refused(_))), "{listed:?}");
        let endings = block_on(store.endings(&name));
        assert!(matches!(endings, Err(StoreError::Refused(_))), "{endings:?}");
    };
    fs::rename(&path, folder.path().join("away")).unwrap();
    gone(&store);
    assert!(!path.exists(), "a request made a new file");
    fs::copy(folder.path().join("away"), &path).unwrap();
    gone(&store);
}

fn removed(path: &Path, names: &[&str]) {
    names.iter().for_each(|name| fs::remove_file(path.with_file_name(name)).unwrap());
}

/// A new database beside living users would give their locks out a second time.
#[test]
fn a_database_that_was_removed_is_not_made_anew_while_its_users_live() {
    let (_folder, path) = made();
    let user = open(&path);
    removed(&path, &["locks.db", "locks.db-wal", "locks.db-shm"]);
    refusal(&path, "is gone, while processes that used it are alive");
    assert!(!path.exists());
    drop(user);
    open(&path);
}

#[test]
fn a_database_in_the_place_of_another_one_is_refused_while_the_users_of_that_live() {
    let (_folder, path) = made();
    let copy = path.with_file_name("copy");
    fs::copy(&path, &copy).unwrap();
    let user = open(&path);
    fs::rename(&copy, &path).unwrap();
    refusal(&path, "has come in the place of another one");
    drop(user);
    open(&path);
}

/// What was written last is in the log: by a new one nobody would know of it.
#[test]
fn a_database_without_its_log_is_refused_while_the_users_of_that_live() {
    let (_folder, path) = made();
    let user = open(&path);
    removed(&path, &["locks.db-wal", "locks.db-shm"]);
    refusal(&path, "without its log (-wal)");
    drop(user);
    open(&path);
}

#[test]
fn the_file_is_marked() {
    let (_folder, path) = made();
    let mut header = [0; 72];
    File::open(&path).unwrap().read_exact(&mut header).unwrap();
    assert_eq!(&header[68..], b"plok");
}
