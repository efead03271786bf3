//! A wrapped driver's commands: what they are called with, and what their end means to the runner.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::fstat,
    pipe::{PipeFlags, pipe_with},
    stdio::{stderr, stdout},
};

use super::{
    End, Limits, Signals, StageExit, Supervision,
    environment::{RUNNER_VARIABLE, STATE_VARIABLE},
    relay::{Relay, Sink},
    sentinel::leave_sentinel,
    supervise,
};
use crate::{
    config::DriverCommand,
    keeper::{Ask, CommandBlock, Connection, DRIVER_PREFIX, JobFolder, TOKEN_VARIABLE, VERSION, bury_now},
    lock::Token,
    report::JobLog,
};

/// The wrapped driver's command as it is called here, with what the runner adds to its arguments.
pub(super) fn block(command: &DriverCommand, added: &[OsString]) -> CommandBlock {
    let words = std::iter::once(&command.exec).chain(&command.args).map(OsString::from);
    CommandBlock::from_here(words.chain(added.iter().cloned()).collect(), environment(env::vars_os()))
}

/// The environment that the wrapped driver would have without this one around it: this stage's own, less what this
/// driver's config stage added to it.
pub(super) fn environment(ours: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let is_ours =
        |key: &OsStr| [TOKEN_VARIABLE, STATE_VARIABLE, RUNNER_VARIABLE].iter().any(|name| key == *name);
    let mut all = BTreeMap::new();
    let mut inner = Vec::new();
    for (key, value) in ours {
        match key.as_bytes().strip_prefix(DRIVER_PREFIX.as_bytes()) {
            Some(name) => inner.push((OsString::from_vec(name.to_vec()), value)),
            None if is_ours(&key) => {}
            None => drop(all.insert(key, value)),
        }
    }
    for (key, value) in inner {
        // The runner lets a job's variables win over the config stage's, and that over all others.
        if !(key.as_bytes().starts_with(b"CUSTOM_ENV_") && all.contains_key(&key)) {
            all.insert(key, value);
        }
    }
    all.into_iter().collect()
}

/// Where a wrapped driver's command runs.
pub(super) struct Place<'a> {
    /// The job's keeper.
    pub(super) connection: &'a Connection,
    /// Its folder.
    pub(super) folder: &'a JobFolder,
    /// The job.
    pub(super) token: Token,
    /// The signals to pass on.
    pub(super) signals: &'a Signals,
}

/// Has the keeper run a command of the wrapped driver as a stage of the job, and passes its output on and its end.
pub(super) fn run(
    place: &Place<'_>,
    stage: &str,
    block: &CommandBlock,
    limits: Limits,
    log: &mut JobLog<io::Stdout>,
) -> anyhow::Result<StageExit> {
    let deadline = place.folder.open_deadline()?;
    let Pipes { relays, output, error } = Pipes::new()?;
    let memory = block.to_memory()?;
    let ask = Ask::Run { version: VERSION, stage: stage.to_owned() };
    place.connection.ask(&ask, &[memory.as_fd(), output.as_fd(), error.as_fd()])?;
    drop((memory, output, error));
    let end = supervise(Supervision {
        connection: place.connection,
        deadline,
        token: place.token,
        // The driver's cleanup is below it too, and is nobody's to end.
        keeper: None,
        relays,
        limits: Some(limits),
        signals: place.signals,
        in_terminal: false,
        notice: &mut |message, calm| log.notice(message, calm),
    })?;
    if let End::Exited { lost: None, left: Some(left), .. } | End::TimedOut { left: Some(left) } = &end {
        leave_sentinel(place.folder, place.token, left);
    }
    let message = match end {
        End::Exited { lost: None, signal: Some(number), .. } => return Ok(StageExit::Signal(number)),
        End::Exited { lost: None, code, .. } => return Ok(StageExit::Verbatim(code)),
        End::Exited { .. } => return Ok(StageExit::SystemFailure),
        End::Refused { message, .. } => format!("the driver was not called: {message}"),
        End::TimedOut { .. } => {
            let limit = limits.patience.unwrap_or_default();
            format!("the driver took longer than {stage}_exec_timeout ({limit:?}) and was ended")
        }
        End::Deaf => "the driver was told to end, and does not".into(),
        End::KeeperDied => {
            log.failure(
                "the job's keeper was killed; the job's processes were ended, now its lock is given back",
            );
            if !bury_now(place.folder, place.token) {
                log.failure("the lock is not given back yet: cleanup does that, or the host's next job");
            }
            return Ok(StageExit::SystemFailure);
        }
        End::KeeperStalled => {
            "the lock could not be proven to be held any longer; the job's processes were ended".into()
        }
    };
    log.failure(&message);
    Ok(StageExit::SystemFailure)
}

/// What stands between a command's output and error and this stage's own: a pipe each, or one for both where the
/// runner itself has one for both, so that their order is kept.
pub(super) struct Pipes {
    pub(super) relays: Vec<Relay>,
    pub(super) output: OwnedFd,
    pub(super) error: OwnedFd,
}

impl Pipes {
    pub(super) fn new() -> io::Result<Self> {
        let (source, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut relays = vec![Relay::new(source, Sink::Output)];
        let error = if is_one_pipe() {
            output.try_clone()?
        } else {
            let (source, error) = pipe_with(PipeFlags::CLOEXEC)?;
            relays.push(Relay::new(source, Sink::Error));
            error
        };
        Ok(Self { relays, output, error })
    }
}

fn is_one_pipe() -> bool {
    let same = |(a, b): (rustix::fs::Stat, rustix::fs::Stat)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
    fstat(stdout()).ok().zip(fstat(stderr()).ok()).is_some_and(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ours: &[(&str, &str)]) -> Vec<(String, String)> {
        let text = |text: OsString| text.into_string().expect("they are texts");
        let all = ours.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        environment(all).into_iter().map(|(key, value)| (text(key), text(value))).collect()
    }

    #[test]
    fn the_inner_driver_sees_what_it_set_and_nothing_of_ours() {
        let ours = [
            ("PIPELINE_LOCK_TOKEN", "t"),
            ("PIPELINE_LOCK_STATE", "/s"),
            ("PIPELINE_LOCK_RUNNER", "1:2"),
            ("PIPELINE_LOCK_CONFIG", "/c"),
            ("AWS_PROFILE", "runner"),
            ("PIPELINE_LOCK_DRIVER_AWS_PROFILE", "driver"),
            ("CUSTOM_ENV_CI", "true"),
        ];
        let expected = [("AWS_PROFILE", "driver"), ("CUSTOM_ENV_CI", "true"), ("PIPELINE_LOCK_CONFIG", "/c")];
        assert_eq!(seen(&ours), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_jobs_variable_wins_over_one_that_the_inner_driver_set() {
        let ours = [("PIPELINE_LOCK_DRIVER_CUSTOM_ENV_X", "driver"), ("CUSTOM_ENV_X", "job")];
        assert_eq!(seen(&ours), [("CUSTOM_ENV_X".to_owned(), "job".to_owned())]);
        assert_eq!(seen(&ours[..1]), [("CUSTOM_ENV_X".to_owned(), "driver".to_owned())]);
    }
}
