//! A job that is to start anew: the runner tries a failed prepare three times by itself, and each try would wait as long
//! as the first. So the first one leaves a note, and the others end at once.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::warn;
use uuid::Uuid;

use super::{StageEnvironment, run::job_of};
use crate::{
    config::JobFacts,
    host::private_folder::{make_private_file, make_private_folder, open_regular},
    keeper::JobFolder,
};

/// How long a note is for the job's next try; GitLab's own retry is another job.
const FRESH: Duration = Duration::from_secs(600);

/// Notes that the job has waited long enough, and why it was in vain.
pub(super) fn note(environment: &StageEnvironment, message: &str) {
    let Ok((folder, _)) = job_of(environment) else { return };
    let facts = environment.job_response_file.as_deref().and_then(|file| JobFacts::read(file).ok());
    if let Some(facts) = facts
        && let Err(error) = write(&notes(&folder), &name_of(&facts), message)
    {
        warn!(%error, "the next try of this job will wait as long again");
    }
}

/// Why the job waited in vain a moment ago, if it did.
pub(super) fn look(folder: &JobFolder, facts: &JobFacts) -> Option<String> {
    let file = notes(folder).join(name_of(facts));
    let mut file = open_regular(&file).ok()?;
    let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
    let mut message = String::new();
    file.read_to_string(&mut message).ok().filter(|_| age < FRESH)?;
    Some(message)
}

fn notes(folder: &JobFolder) -> PathBuf {
    folder.state().join("requeued")
}

fn name_of(facts: &JobFacts) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, facts.job_owner().as_str().as_bytes()).to_string()
}

fn write(notes: &Path, name: &str, message: &str) -> io::Result<()> {
    make_private_folder(notes)?;
    for old in fs::read_dir(notes)?.flatten() {
        let age =
            old.metadata().and_then(|found| found.modified()).map(|at| at.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age >= FRESH) {
            let _ = fs::remove_file(old.path());
        }
    }
    make_private_file(&notes.join(name))?.write_all(message.as_bytes())
}
