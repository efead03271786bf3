//! A wrapped driver's cleanup: once the job has its locks it is due, and it comes before they are given back, whoever
//! ends the job. What the driver made elsewhere (machines, containers) is known to nobody but the driver.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tracing::warn;

use super::{command::CommandBlock, protocol::Cleaned, script::Streams};
use crate::{client::CLEANUP_MARK, host::process::ProcId, lock::Token};

/// The mark of a cleanup's processes. It is another one than the job's, so that the run stage and the sentinel, which
/// end a job before its lease ends, leave its cleanup alone.
pub(super) fn mark(token: Token) -> String {
    format!("{token}{CLEANUP_MARK}")
}

/// How it stands with a driver's cleanup.
#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) stage: Stage,
    /// Where its output goes; none: into the keeper's log.
    streams: Option<(OwnedFd, OwnedFd)>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// There is none, or the job never had its locks.
    NotDue(Option<CommandBlock>),
    /// It is to be called with this.
    Due(CommandBlock),
    /// It runs.
    Running { process: ProcId, is_overdue: bool },
    /// It was called.
    Done(Cleaned),
}

impl Cleaning {
    /// What is to be called when the job has had its locks.
    pub(super) const fn of(rites: Option<CommandBlock>) -> Self {
        Self { stage: Stage::NotDue(rites), streams: None }
    }

    /// Its process, while it runs.
    pub(super) const fn process(&self) -> Option<ProcId> {
        match self.stage {
            Stage::Running { process, .. } => Some(process),
            _ => None,
        }
    }

    /// Whether it is still to be called.
    pub(super) const fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Due(_))
    }

    /// What became of it.
    pub(super) fn done(&self) -> Option<Cleaned> {
        match &self.stage {
            Stage::Done(cleaned) => Some(cleaned.clone()),
            _ => None,
        }
    }

    /// The runner calls cleanup: its own environment and output take the place of what prepare handed over.
    pub(super) fn take_over(&mut self, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let (Some(block), Some(output), Some(error)) = (fds.next(), fds.next(), fds.next()) else { return };
        if !self.is_due() {
            return;
        }
        match CommandBlock::from_memory(&block) {
            Ok(block) => self.stage = Stage::Due(block),
            Err(error) => warn!(%error, "the cleanup stage sent no command: prepare's is taken"),
        }
        self.streams = Some((output, error));
    }

    /// Where its output goes, for the one time that it is called.
    pub(super) fn take_streams(&mut self) -> io::Result<Streams> {
        let (output, error) = match self.streams.take() {
            Some(streams) => streams,
            // The keeper's own are its log.
            None => (io::stdout().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?),
        };
        Ok(Streams { input: None, output, error })
    }
}
