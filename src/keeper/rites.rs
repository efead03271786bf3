//! A wrapped driver's cleanup for a job whose keeper is dead: called by whoever buries it, with what the keeper wrote
//! down, after the job's last process and before its locks are given back.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use tracing::{info, warn};

use super::{cleaning::mark, command::CommandBlock, folder::JobFolder};
use crate::{
    client::{MARKER, Rites},
    config::Driver,
    host::{
        clock::{BootTime, BootTimer},
        ending::Patience,
        process::{Pid, ProcId},
        subreaper,
        tree::{JobTree, Marker},
    },
    lock::Token,
};

/// How often a process is looked at that can't be watched.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The rites of the keepers whose state is in this folder.
pub fn rites_of(state: &Path) -> Rites {
    let state = state.to_owned();
    Rites::new(move |token| {
        perform(&JobFolder::of(&state, token), token).unwrap_or_else(|error| {
            warn!(%token, %error, "the driver's cleanup of a dead keeper can't be called: its lock is given back without");
            true
        })
    })
}

/// Calls the cleanup if it is due. False: its processes can't be ended yet.
fn perform(folder: &JobFolder, token: Token) -> io::Result<bool> {
    let driver = match folder.read_record() {
        Ok(record) => record.driver,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let Some(driver) = driver else { return Ok(true) };
    let tree = JobTree {
        marker: Some(Marker { name: MARKER.into(), value: mark(token) }),
        exclude: vec![Pid::me()],
        ..JobTree::default()
    };
    // What the keeper or an earlier burier had called, and did not see to its end.
    if !tree.end_blocking(patience(&driver, true)).is_over() {
        return Ok(false);
    }
    let Some(block) = folder.read_rites()? else { return Ok(true) };
    info!(%token, "the driver's cleanup is called for a keeper that is dead");
    let in_time = start(&block).and_then(|process| wait(process, driver.cleanup_timeout));
    match &in_time {
        Ok(true) => {}
        Ok(false) => warn!(%token, "the driver's cleanup takes longer than it may: it is ended"),
        Err(error) => warn!(%token, %error, "the driver's cleanup can't be called"),
    }
    let is_over = tree.end_blocking(patience(&driver, in_time.unwrap_or(true))).is_over();
    if is_over {
        folder.remove_rites();
    }
    Ok(is_over)
}

/// What the cleanup leaves behind is ended as any survivor of a dead keeper; what takes too long by the driver's times.
fn patience(driver: &Driver, in_time: bool) -> Patience {
    let term_grace = if in_time { Duration::ZERO } else { driver.graceful_kill };
    Patience { term_grace, kill_limit: driver.force_kill }
}

fn start(block: &CommandBlock) -> io::Result<ProcId> {
    let mut words = block.args.iter();
    let program = words.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The runner's folder of the job may be gone with the runner.
    let dir = if block.dir.is_dir() { block.dir.as_path() } else { Path::new("/") };
    let mut command = Command::new(program);
    command.args(words).current_dir(dir).env_clear().envs(block.env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).process_group(0);
    let see = |child: Child| {
        ProcId::of_unreaped(Pid::of_child(&child)).ok_or_else(|| io::Error::other("it can't be looked at"))
    };
    subreaper::unreaped(|| command.spawn().and_then(see))
}

/// Waits for its end; false: it takes longer than `limit`. It may be reaped by somebody else: in a keeper every child
/// is.
fn wait(process: ProcId, limit: Duration) -> io::Result<bool> {
    let until = BootTime::now() + limit;
    let timer = BootTimer::new()?;
    timer.arm(until)?;
    let pidfd = match process.pidfd() {
        Ok(Some(pidfd)) => Some(pidfd),
        Ok(None) => return Ok(true),
        Err(_) => None,
    };
    while process.is_alive() {
        if BootTime::now() >= until {
            return Ok(false);
        }
        match &pidfd {
            Some(pidfd) => {
                let mut fds = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(&timer, PollFlags::IN)];
                if let Err(error) = poll(&mut fds, None)
                    && error != rustix::io::Errno::INTR
                {
                    return Err(error.into());
                }
            }
            None => thread::sleep(LOOK_EVERY),
        }
    }
    Ok(true)
}
