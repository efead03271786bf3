//! Starting a keeper: a process of its own session that survives the stage which started it.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{command::CommandBlock, folder::JobFolder, protocol::Launch, wire};
use crate::host::private_folder::make_new;

/// The environment variable that holds the job's token in the stages' environment.
pub const TOKEN_VARIABLE: &str = "PIPELINE_LOCK_TOKEN";

/// What stands before the name of each variable that a wrapped driver's config stage asks for, in the stages'
/// environment. So what it sets for itself (AWS_PROFILE, PATH, …) changes nothing for this program.
pub const DRIVER_PREFIX: &str = "PIPELINE_LOCK_DRIVER_";

/// The keeper can't be started: its folder can't be made or written to, or this host has no room for one more process.
/// See to what the message names.
#[derive(Debug, thiserror::Error)]
#[error("the keeper can't be started ({}): {source}; {}", folder.display(), advice(source))]
pub struct SpawnError {
    folder: PathBuf,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "make room on that file system",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a folder that this user may write to: key `state` of the configuration"
        }
        _ => "see to that folder, or name another one: key `state` of the configuration",
    }
}

/// Starts the keeper of `launch` and returns the connection on which it tells how it gets on. `rites`: what a wrapped
/// driver's cleanup is to be called with, if the keeper has to call it by itself. Where that can't be done
/// nothing is left.
pub fn spawn(launch: &Launch, rites: Option<&CommandBlock>) -> Result<UnixStream, SpawnError> {
    let folder = JobFolder::of(&launch.state, launch.token);
    let failed = |source| SpawnError { folder: folder.path().to_owned(), source };
    folder.create().map_err(failed)?;
    start(launch, rites, &folder).inspect_err(|_| folder.remove(&launch.owner, launch.token)).map_err(failed)
}

fn start(launch: &Launch, rites: Option<&CommandBlock>, folder: &JobFolder) -> io::Result<UnixStream> {
    folder.point(&launch.owner, launch.token)?;
    let (ours, theirs) = UnixStream::pair()?;
    let log = make_new(&folder.log(), OpenOptions::new().append(true))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("pipeline-lock")
        .arg("keeper")
        .arg(launch.token.short())
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    without_the_job(&mut command);
    let in_session = launch.in_session;
    // SAFETY: the closure runs between fork and exec and makes one system call; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if in_session {
                rustix::process::setpgid(None, None)?;
            } else {
                rustix::process::setsid()?;
            }
            Ok(())
        });
    }
    command.spawn()?;
    let rites = rites.map(CommandBlock::to_memory).transpose()?;
    let fds: Vec<_> = rites.iter().map(AsFd::as_fd).collect();
    wire::send(&ours, launch, &fds)?;
    Ok(ours)
}

/// Keeps the job's own variables from a process that is none of the job's.
pub fn without_the_job(command: &mut Command) {
    for (key, _) in std::env::vars_os().filter(|(key, _)| is_of_the_job(key)) {
        command.env_remove(key);
    }
}

fn is_of_the_job(key: &std::ffi::OsStr) -> bool {
    let key = key.as_encoded_bytes();
    key.starts_with(b"CUSTOM_ENV_")
        || key.starts_with(DRIVER_PREFIX.as_bytes())
        || [crate::client::MARKER, TOKEN_VARIABLE, "JOB_RESPONSE_FILE", "BUILD_EXIT_CODE_FILE", "TMPDIR"]
            .iter()
            .any(|name| key == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_that_cant_be_started_names_the_folder_and_what_helps() {
        let said = |kind: io::ErrorKind| {
            SpawnError { folder: "/state/jobs/x".into(), source: kind.into() }.to_string()
        };
        assert!(said(io::ErrorKind::StorageFull).contains("(/state/jobs/x): no storage space; make room"));
        assert!(said(io::ErrorKind::PermissionDenied).contains("may write to: key `state`"));
        assert!(said(io::ErrorKind::NotADirectory).contains("name another one: key `state`"));
    }
}
