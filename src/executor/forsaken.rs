//! Jobs of this host whose keepers died with everybody who would have buried them: by a power cut, or with their runner.
//! What they left (processes, a lock in a table, files) is found by the next job of the host, whatever lock that wants.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use tracing::{info, warn};

use super::{sentinel::Sentinel, switch::ABANDONED_GRACE};
use crate::{
    host::private_folder::make_private_file,
    keeper::{Connection, JobFolder, keeper_of},
    lock::Token,
};

/// A job that could not be buried is tried again by those who come after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A folder in which no keeper has written itself down is no beginning any more.
const NEVER_BEGUN: Duration = Duration::from_secs(3600);

/// As many are buried by one job: each takes a process of its own.
const AT_MOST: usize = 8;

/// Has them buried, each by a process of its own that outlives this one. Takes some microseconds for each living job of
/// the host.
pub fn bury_forsaken(state: &Path, own: Token) {
    let entries = fs::read_dir(state.join("jobs")).into_iter().flatten().flatten();
    let tokens = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Token>().ok());
    for token in tokens.filter(|token| *token != own && is_forsaken(state, *token)).take(AT_MOST) {
        let sentinel = Sentinel { state: state.to_owned(), token, cgroup: None, kill_grace: ABANDONED_GRACE };
        match sentinel.start() {
            Ok(mut child) => {
                info!(%token, "a job that everybody has left is buried");
                // It is nobody's zombie, however long this process waits.
                let reaper = thread::Builder::new().name("burial".into());
                let _ = reaper.spawn(move || child.wait());
            }
            Err(error) => warn!(%token, %error, "a job that everybody has left can't be buried"),
        }
    }
}

fn is_forsaken(state: &Path, token: Token) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};

    let folder = JobFolder::of(state, token);
    // What the socket says, if nobody answers there.
    let silence = || Connection::open(&folder).err().map(|error| error.kind());
    let is_dead = || matches!(silence(), Some(NotFound | ConnectionRefused));
    // The socket of an `exec` of root's is closed to others. Who buries it has its presence file as well.
    let may_be_dead = || matches!(silence(), Some(NotFound | ConnectionRefused | PermissionDenied));
    match folder.read_record() {
        Ok(record) => {
            // Who ends in good order takes its folder away: then there is nothing to begin with.
            keeper_of(&record, token).is_none() && may_be_dead() && folder.is_recorded() && is_due(&folder)
        }
        Err(error) => {
            let is_unrecorded = match error.kind() {
                io::ErrorKind::NotFound => true,
                // A power cut has torn it, unless it is whole and another version's: that knows what to do with it.
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    !folder.is_of_another_version() && is_dead()
                }
                _ => false,
            };
            if is_unrecorded && is_older(folder.path(), NEVER_BEGUN) {
                folder.remove_unrecorded(token);
            }
            false
        }
    }
}

/// Whether nobody has tried just now; who asks is the one who tries.
fn is_due(folder: &JobFolder) -> bool {
    let note = folder.burial();
    if note.exists() && !is_older(&note, AGAIN_AFTER) {
        return false;
    }
    make_private_file(&note).is_ok()
}

/// By the clock that sets the times of files: one that was set only makes this sooner or later.
fn is_older(path: &Path, age: Duration) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|found| found.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|passed| passed > age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::peer;

    #[test]
    fn a_record_that_was_torn_by_a_power_cut_goes_with_its_folder_unless_its_keeper_lives() {
        let state = tempfile::tempdir().unwrap();
        for (record, stays) in [
            ("", false),
            ("{\"pid\": 1", false),
            ("\0\0\0\0", false),
            ("\0\0\0\0", true),
            ("{\"pid\": 1, \"of\": \"a later version\"}", true),
        ] {
            let token = Token::new(uuid::Uuid::new_v4());
            let folder = JobFolder::of(state.path(), token);
            folder.create().unwrap();
            fs::write(folder.path().join("keeper.json"), record).unwrap();
            let _keeper = (stays && record.starts_with('\0')).then(|| peer::bind(&folder.socket()).unwrap());
            assert!(!is_forsaken(state.path(), token));
            assert!(folder.exists(), "it may be just beginning");
            let long_ago = SystemTime::now() - NEVER_BEGUN * 2;
            fs::File::open(folder.path()).unwrap().set_modified(long_ago).unwrap();
            assert!(!is_forsaken(state.path(), token));
            assert_eq!(folder.exists(), stays, "{record:?}");
        }
    }
}
