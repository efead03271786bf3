//! What lies on disk: whose it is, and what becomes of things that somebody put in its place.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat},
    process::{Signal, umask},
};

use crate::{
    attacker::{keeper, keepers_folder, mode},
    harness::{Host, LOCK, Stage, eventually},
};

/// The command as a runner with this mask starts it.
fn under_mask(mut command: Command, mask: u32) -> Command {
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            umask(Mode::from_raw_mode(mask));
            Ok(())
        })
    };
    command
}

/// All that is in the state folder and beside the store, and the store itself.
fn everything(host: &Host) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![host.path().join("state"), host.path().join("locks.db.d")];
    found.extend(["locks.db", "locks.db-wal", "locks.db-shm"].map(|file| host.path().join(file)));
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
        found.push(folder);
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    found
}

#[test]
fn folders_have_mode_700_and_files_600_whatever_the_runners_mask() {
    for mask in [0o000, 0o022, 0o077] {
        let host = Host::local("max_waiting: 3");
        let job = host.job(1).attempt();
        Stage::start(under_mask(job.command(&["prepare"]), mask), false).end().with_code(0);
        let waits = host.job(2).attempt();
        let waiting = Stage::start(under_mask(waits.command(&["prepare"]), mask), false);
        host.until_queued(&[2]);
        let script = job.script(&(host.gate("runs") + "umask"));
        let run = Stage::start(under_mask(job.command(&["run", &script, "build_script"]), mask), false);
        host.until_reached("runs");
        let (mut files, mut folders, mut sockets) = (0, 0, 0);
        for path in everything(&host) {
            let found = fs::symlink_metadata(&path).unwrap();
            let expected = if found.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(found.mode() & 0o7777, expected, "{} under mask {mask:o}", path.display());
            files += usize::from(found.is_file());
            folders += usize::from(found.is_dir());
            sockets += usize::from(found.file_type().is_socket());
        }
        assert!(files >= 10 && folders >= 6 && sockets == 2, "{files} {folders} {sockets}");
        host.open("runs");
        run.end().with_code(0).with_text(&[&format!("{mask:04o}")]);
        job.finish();
        waiting.end().with_code(0);
        waits.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_state_folder_that_others_can_change_is_refused() {
    let host = Host::local("");
    host.job(1).prepared().finish();
    for (folder, bits) in [("state", 0o777), ("state/jobs", 0o770), ("state/owners", 0o1777)] {
        let path = host.path().join(folder);
        mode(&path, bits);
        let job = host.job(2).attempt();
        let ended = job.prepare().end().with_code(2);
        let ended = ended.with_text(&["is not private", &format!("{bits:o}"), &path.display().to_string()]);
        assert!(!ended.text().contains("acquired"), "{}", ended.text());
        mode(&path, 0o700);
        job.finish();
    }
    host.job(3).prepared().finish();
    host.is_clean_soon();
}

#[test]
fn links_in_the_place_of_files_are_not_followed() {
    replaced(|path, victim| symlink(victim, path).unwrap());
}

#[test]
fn hard_links_in_the_place_of_files_are_not_written_through() {
    replaced(|path, victim| fs::hard_link(victim, path).unwrap());
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_a_file() {
    replaced(|path, _| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap());
}

/// Leaves something else in the place of each file that two jobs made and left or removed, and lets two jobs like them
/// run: they get on, and the victim stays as it was.
fn replaced(plant: impl Fn(&Path, &Path)) {
    let host = Host::local("max_waiting: 3");
    let mut files: Vec<PathBuf> = Vec::new();
    two_jobs(&host, |now| files.extend(now));
    // What has a token in its name comes never again: the next one's is made up anew.
    files.retain(|path| !path.starts_with(host.path().join("state/jobs")));
    files.sort();
    files.dedup();
    let victim = host.path().join("victim");
    fs::write(&victim, "as it was").unwrap();
    let mut planted = 0;
    for path in files.iter().filter(|path| !path.ends_with("victim")) {
        let _ = fs::remove_file(path);
        plant(path, &victim);
        planted += 1;
    }
    assert!(planted >= 4, "only {files:?} can be replaced");
    two_jobs(&host, |_| {});
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    for path in files {
        let _ = fs::remove_file(path);
    }
    host.is_clean_soon();
}

fn two_jobs(host: &Host, mut look: impl FnMut(Vec<PathBuf>)) {
    let (job, waits) = (host.job(1).prepared(), host.job(2).attempt());
    let waiting = waits.prepare();
    host.until_queued(&[2]);
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let local = host.path().join("locks.db.d");
    let in_store = |path: &PathBuf| {
        path.to_string_lossy().contains("locks.db")
            && (!path.starts_with(&local) || *path == local.join("users"))
    };
    look(everything(host).into_iter().filter(is_file).filter(|path| !in_store(path)).collect());
    job.finish();
    waiting.end().with_code(0);
    waits.finish();
}

#[test]
fn a_configuration_that_everybody_may_write_to_is_not_read() {
    let host = Host::local("");
    let job = host.job(1).attempt();
    mode(&host.path().join("config.yaml"), 0o646);
    job.prepare().end().with_code(2).with_text(&["config.yaml", "everybody may write", "chmod o-w"]);
    assert_eq!(host.status_of(LOCK)["holders"].as_array().unwrap().len(), 0);
    job.finish();
}

#[test]
fn the_note_of_who_buries_a_dead_keeper_has_mode_600_whatever_the_mask() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let presence = fs::File::open(host.holds().join(job.token())).unwrap();
    keeper(&job).signal(Signal::KILL);
    // Whoever comes can't bury it while somebody else has the file's flock.
    eventually("it is dead", || flock(&presence, FlockOperation::NonBlockingLockExclusive).is_ok());
    let other = host.job(2).variable("PIPELINE_LOCK", "gitlab.example.com/shop/web/other").attempt();
    Stage::start(under_mask(other.command(&["prepare"]), 0), false).end().with_code(0);
    let note = keepers_folder(&host, &job).path().join("burial");
    assert_eq!(fs::metadata(&note).unwrap().mode() & 0o7777, 0o600);
    drop(presence);
    other.finish();
    job.finish();
    host.is_clean_soon();
}
