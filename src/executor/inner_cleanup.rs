//! A wrapped driver's cleanup as the cleanup stage calls for it: with this stage's environment and output.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Signals, inner, inner::Pipes, relay::Sink};
use crate::{
    host::clock::BootTime,
    keeper::{Ask, CommandBlock, Connection, JobFolder},
};

/// How long output is drained when all is over: a child that keeps the pipe open holds nothing up.
const DRAIN: Duration = Duration::from_secs(1);

/// The call, before and while it is done.
pub(super) struct InnerCleanup {
    block: CommandBlock,
    relays: Vec<JoinHandle<()>>,
    signals: Signals,
}

impl InnerCleanup {
    /// That of the job's driver, if it has one with a cleanup.
    pub(super) fn of(folder: &JobFolder) -> io::Result<Option<Self>> {
        // Without a record there was no keeper that came as far as holding a lock.
        let driver = folder.read_record().ok().and_then(|record| record.driver);
        let Some(cleanup) = driver.and_then(|driver| driver.cleanup) else { return Ok(None) };
        Ok(Some(Self { block: inner::block(&cleanup, &[]), relays: Vec::new(), signals: Signals::handle()? }))
    }

    pub(super) const fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Asks the keeper to end the job with this as its cleanup. Its output is passed on from now on, whether or not
    /// anybody reads it: the cleanup must not stop for that.
    pub(super) fn ask(&mut self, connection: &Connection) -> io::Result<()> {
        let Pipes { relays, output, error } = Pipes::new()?;
        let memory = self.block.to_memory()?;
        connection.ask(&Ask::End, &[memory.as_fd(), output.as_fd(), error.as_fd()])?;
        for relay in relays {
            let (from, to) = relay.into_ends();
            self.relays.push(thread::spawn(move || pass_on(from, to)));
        }
        Ok(())
    }

    /// The keeper is dead: whoever buries it calls the cleanup with this stage's environment, if it is due.
    pub(super) fn hand_to_the_burier(&self, folder: &JobFolder) -> io::Result<()> {
        let Some(due) = folder.read_rites()? else { return Ok(()) };
        let mut block = self.block.clone();
        // What the keeper added: its mark, and what can be read of the locks.
        let of_the_keeper = due.env.into_iter().filter(|(key, _)| {
            key.as_encoded_bytes().starts_with(b"PIPELINE_LOCK_")
                && !self.block.env.iter().any(|(mine, _)| mine == key)
        });
        block.env.extend(of_the_keeper);
        folder.write_rites(&block)
    }
}

impl Drop for InnerCleanup {
    fn drop(&mut self) {
        let until = BootTime::now() + DRAIN;
        while BootTime::now() < until && !self.relays.iter().all(JoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pass_on(from: OwnedFd, to: Sink) {
    let mut from = File::from(from);
    let mut buffer = [0; 16 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        let _ = match to {
            Sink::Output => io::stdout().write_all(&buffer[..got]).and_then(|()| io::stdout().flush()),
            Sink::Error => io::stderr().write_all(&buffer[..got]),
        };
    }
}
