//! Presences of this process and of others that are killed.

use super::*;
use crate::host::testing::{is_inside, other_process, ready_to_die};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Where the other process of a test finds the directory and the token.
const DIR: &str = "PIPELINE_LOCK_TEST_DIR";

fn directory() -> (tempfile::TempDir, PresenceDir) {
    let temporary = tempfile::tempdir().unwrap();
    let presences = PresenceDir::open(temporary.path().join("new/presences")).unwrap();
    (temporary, presences)
}

#[track_caller]
fn dead(probe: Probe) -> (Presence, String) {
    match probe {
        Probe::Dead { presence, record } => (presence, String::from_utf8(record).unwrap()),
        other => panic!("dead, not {other:?}"),
    }
}

#[test]
fn who_holds_is_alive_and_who_lets_go_is_dead_with_its_record() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    assert!(matches!(presences.probe(token).unwrap(), Probe::Missing));
    let presence = presences.claim(token, &("job", 7)).unwrap();
    assert!(matches!(presences.probe(token).unwrap(), Probe::Alive));
    assert!(presence.is_linked());
    assert_eq!(presences.tokens().unwrap(), [token]);
    drop(presence);
    let (ours, record) = dead(presences.probe(token).unwrap());
    assert_eq!(record, "[\"job\",7]\n");
    assert!(matches!(presences.probe(token).unwrap(), Probe::Alive), "one buries at a time");
    ours.remove().unwrap();
    assert!(matches!(presences.probe(token).unwrap(), Probe::Missing));
}

#[test]
fn a_process_killed_with_9_is_found_dead() {
    const NAME: &str = "host::presence::tests::a_process_killed_with_9_is_found_dead";
    if is_inside(NAME) {
        let (path, token) = (std::env::var(DIR).unwrap(), Uuid::from_u128(9));
        let _presence = PresenceDir::open(path).unwrap().claim(token, &"the other").unwrap();
        ready_to_die();
    }
    let (_temporary, presences) = directory();
    let mut other = other_process(NAME, DIR, presences.path());
    assert!(matches!(presences.probe(Uuid::from_u128(9)).unwrap(), Probe::Alive));
    other.kill();
    let (_presence, record) = dead(presences.probe(Uuid::from_u128(9)).unwrap());
    assert_eq!(record, "\"the other\"\n");
}

#[test]
fn a_child_that_outlives_the_holder_does_not_inherit_its_life() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    let presence = presences.claim(token, &()).unwrap();
    let mut listing = Command::new("sh");
    let listed = listing.args(["-c", "ls -l /proc/$$/fd"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("0 -> "), "the file descriptors were listed: {listed}");
    assert!(!listed.contains(&token.to_string()), "{listed}");
    drop(presence);
}

#[test]
fn a_token_is_claimed_once() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    let _presence = presences.claim(token, &()).unwrap();
    let error = presences.claim(token, &()).unwrap_err();
    assert!(matches!(&error, PresenceError::Taken(path) if path.ends_with(token.to_string())), "{error}");
    assert!(matches!(presences.probe(token).unwrap(), Probe::Alive), "the first claim stands");
    let files = fs::read_dir(presences.path()).unwrap().count();
    assert_eq!(files, 1, "the refused claim left nothing behind");
}

#[test]
fn a_file_that_was_replaced_protects_nobody_and_removes_nobody() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    let lost = presences.claim(token, &"lost").unwrap();
    fs::remove_file(lost.path()).unwrap();
    assert!(!lost.is_linked());
    let next = presences.claim(token, &"next").unwrap();
    assert!(!lost.is_linked(), "the name leads to another file");
    lost.remove().unwrap();
    assert!(next.is_linked(), "the file of the next one is untouched");
}

#[test]
fn a_record_is_replaced_whole_by_a_shorter_and_a_longer_one() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    let presence = presences.claim(token, &"a rather long record").unwrap();
    for record in ["short", "one that is longer than any record before it"] {
        presence.write(&record).unwrap();
        let text = fs::read_to_string(presence.path()).unwrap();
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), record);
    }
}

#[test]
fn burying_races_with_claims_and_never_buries_the_living() {
    let (_temporary, presences) = directory();
    let token = Uuid::from_u128(1);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Probe::Dead { presence, record } = presences.probe(token).unwrap() {
                        assert!(presence.is_linked());
                        assert!(record.ends_with(b"\n"), "a record is whole from the first moment on");
                        presence.remove().unwrap();
                    }
                }
            });
        }
        for round in 0..500 {
            // Somebody's burial of the round before may not be over yet.
            let Ok(presence) = presences.claim(token, &round) else { continue };
            for _ in 0..20 {
                assert!(presence.is_linked(), "round {round}: a living one was buried");
                std::thread::yield_now();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn files_and_directories_are_private_and_links_are_refused() {
    let (temporary, presences) = directory();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(presences.path()), 0o700);
    let presence = presences.claim(Uuid::new_v4(), &()).unwrap();
    assert_eq!(mode(presence.path()), 0o600);

    let token = Uuid::new_v4();
    std::os::unix::fs::symlink(temporary.path().join("elsewhere"), presences.file_of(token)).unwrap();
    assert!(presences.claim(token, &()).is_err());
    assert!(matches!(presences.probe(token).unwrap(), Probe::Missing), "a link says nothing");
    assert!(!temporary.path().join("elsewhere").exists());
    presences.claim(token, &()).unwrap();

    let open = temporary.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let error = PresenceDir::open(&open).unwrap_err();
    assert!(error.to_string().contains("mode 777"), "{error}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_says_nothing_and_holds_nobody_up() {
    let (_temporary, presences) = directory();
    let token = Uuid::new_v4();
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, presences.file_of(token), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    assert!(matches!(presences.probe(token).unwrap(), Probe::Missing));
    let presence = presences.claim(token, &()).unwrap();
    assert!(matches!(presences.probe(token).unwrap(), Probe::Alive));
    presence.remove().unwrap();
}
