//! Waiting for a command that the keeper runs: relays its output, passes signals on, and is the dead man's
//! switch: when the keeper dies, or its deadline comes near without news, the job is ended from here.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};
use tracing::{info, warn};

use super::{
    Signals,
    relay::{Moved, Relay},
    switch::{ABANDONED_GRACE, Outside, switch_time, until_the_lease},
};
use crate::{
    host::{
        clock::{BootTime, BootTimer},
        process::ProcId,
    },
    keeper::{Ask, Connection, Deadline, Tell},
    lock::Token,
};

/// How long output is drained after the command's end: a child that keeps the pipe open holds nothing up.
const DRAIN: Duration = Duration::from_secs(1);

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, or by a signal (128 and its number).
    Exited {
        /// Its exit code.
        code: i32,
        /// Why the job must not go on, if so.
        lost: Option<String>,
        /// Processes that it left behind and that nobody but the keeper watches over.
        left: Option<Left>,
    },
    /// The keeper would not run it.
    Refused {
        /// Why, and the way out.
        message: String,
        /// Whether there is no such command.
        is_missing: bool,
    },
    /// The keeper died; the job's processes were ended from here.
    KeeperDied,
    /// The keeper did not renew in time; the job's processes were ended from here.
    KeeperStalled,
}

/// Processes that a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Their cgroup, if the job has one.
    pub cgroup: Option<PathBuf>,
    /// From TERM to KILL when the hold is being lost.
    pub kill_grace: Duration,
}

/// What a supervision needs.
pub struct Supervision<'a> {
    /// The connection on which the command was asked for.
    pub connection: &'a Connection,
    /// Until when the holds are proven.
    pub deadline: Deadline,
    /// The job.
    pub token: Token,
    /// The script's output, if it goes through this process.
    pub relay: Option<Relay>,
    /// The signals to pass on.
    pub signals: &'a Signals,
    /// Whether a terminal tells the command of signals too, so that INT and QUIT need not be passed on.
    pub in_terminal: bool,
    /// Says something in the job's log.
    pub notice: &'a mut dyn FnMut(&str),
}

/// Waits until the command has ended and its output is passed on.
pub fn supervise(supervision: Supervision<'_>) -> io::Result<End> {
    Watch::new(supervision)?.run()
}

/// What the keeper told of the running command.
#[derive(Clone, Debug)]
struct Started {
    process: ProcId,
    cgroup: Option<PathBuf>,
    kill_grace: Duration,
}

/// How the command ended.
struct Exited {
    code: i32,
    lost: Option<String>,
    left: bool,
}

struct Watch<'a> {
    job: Supervision<'a>,
    timer: BootTimer,
    started: Option<Started>,
    exited: Option<Exited>,
    drain_until: Option<BootTime>,
    /// After the drain: what was in the pipe at its end and still has to go on, however slow its reader is.
    owed: Option<usize>,
    output_waits: bool,
    terminations: u32,
}

/// What a round of polling found.
#[derive(Default)]
struct Found {
    keeper: bool,
    signals: bool,
    source: bool,
    room: bool,
}

impl<'a> Watch<'a> {
    fn new(job: Supervision<'a>) -> io::Result<Self> {
        Ok(Self {
            job,
            timer: BootTimer::new()?,
            started: None,
            exited: None,
            drain_until: None,
            owed: None,
            output_waits: false,
            terminations: 0,
        })
    }

    fn run(mut self) -> io::Result<End> {
        loop {
            if self.exited.is_some() && self.is_drained() {
                return Ok(self.end());
            }
            if self.exited.is_none() && self.is_overdue() {
                warn!("the keeper gives no news and the lease is about to end");
                self.end_job(until_the_lease(&self.job.deadline));
                return Ok(End::KeeperStalled);
            }
            let found = self.wait()?;
            if found.signals {
                self.pass_signals_on();
            }
            if (found.source || self.output_waits) && self.job.relay.is_some() {
                self.relay(found.room);
            }
            if found.keeper
                && let Some(end) = self.hear()?
            {
                return Ok(end);
            }
        }
    }

    fn end(&mut self) -> End {
        let Some(Exited { code, lost, left }) = self.exited.take() else { return End::KeeperDied };
        let left = self.started.as_ref().filter(|_| left && self.job.deadline.get().is_some());
        let left = left.map(|s| Left { cgroup: s.cgroup.clone(), kill_grace: s.kill_grace });
        End::Exited { code, lost, left }
    }

    /// Whether the output of a command that has ended is passed on: all of it, or what there was when the time
    /// for draining was over.
    fn is_drained(&mut self) -> bool {
        let Some(relay) = &self.job.relay else { return true };
        if self.drain_until.is_some_and(|until| BootTime::now() < until) {
            return false;
        }
        *self.owed.get_or_insert_with(|| relay.pending()) == 0
    }

    fn wait(&mut self) -> io::Result<Found> {
        self.timer.arm(self.next_time())?;
        let out = io::stdout();
        let mut fds = vec![
            PollFd::new(self.job.connection.stream(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
        ];
        if self.exited.is_some() {
            fds[0] = PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN);
        }
        fds.extend(self.job.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let signals = 2..fds.len();
        let pipe: Option<(BorrowedFd<'_>, PollFlags)> = self.job.relay.as_ref().map(|relay| {
            if self.output_waits && relay.needs_room() {
                (out.as_fd(), PollFlags::OUT)
            } else {
                (relay.source(), PollFlags::IN)
            }
        });
        fds.extend(pipe.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let piped = pipe.is_some() && fds.last().is_some_and(ready);
        Ok(Found {
            keeper: self.exited.is_none() && ready(&fds[0]),
            signals: fds[signals].iter().any(ready),
            source: piped && !self.output_waits,
            room: piped && self.output_waits,
        })
    }

    /// When to look even though nothing happens.
    fn next_time(&self) -> BootTime {
        let far = BootTime::now() + Duration::from_secs(3600);
        let switch = self.exited.is_none().then(|| self.switch_time()).flatten();
        let drain = self.drain_until.filter(|_| self.owed.is_none());
        far.min(drain.unwrap_or(far)).min(switch.unwrap_or(far))
    }

    fn switch_time(&self) -> Option<BootTime> {
        let grace = self.started.as_ref().map_or(Duration::ZERO, |s| s.kill_grace);
        switch_time(&self.job.deadline, grace)
    }

    fn is_overdue(&self) -> bool {
        self.switch_time().is_some_and(|at| BootTime::now() >= at)
    }

    fn relay(&mut self, room: bool) {
        let Some(relay) = &mut self.job.relay else { return };
        if relay.needs_room() && !room && !Relay::has_room() {
            self.output_waits = true;
            return;
        }
        self.output_waits = false;
        match relay.step() {
            Moved::Some(bytes) => self.owed = self.owed.map(|owed| owed.saturating_sub(bytes)),
            Moved::Nothing => {}
            Moved::End => self.job.relay = None,
        }
    }

    fn pass_signals_on(&mut self) {
        for number in self.job.signals.take() {
            let number = match number {
                // systemd's KillSignal=SIGQUIT asks the runner to finish gracefully: the job goes on.
                SIGQUIT if !self.job.in_terminal => continue,
                SIGHUP if !self.job.in_terminal => continue,
                SIGINT | SIGQUIT if self.job.in_terminal => continue,
                SIGTERM | SIGINT => {
                    self.terminations += 1;
                    if self.terminations > 1 { SIGKILL } else { number }
                }
                other => other,
            };
            info!(number, "a signal is passed on");
            if let Err(error) = self.job.connection.ask(&Ask::Signal { number }, &[]) {
                warn!(%error, "the keeper can't be told of a signal");
            }
        }
    }

    fn hear(&mut self) -> io::Result<Option<End>> {
        match self.job.connection.hear()? {
            None => {
                warn!("the keeper is dead: the job is ended");
                self.end_job(ABANDONED_GRACE);
                Ok(Some(End::KeeperDied))
            }
            Some(Tell::Started { process, cgroup, kill_grace }) => {
                self.started = Some(Started { process, cgroup, kill_grace });
                Ok(None)
            }
            Some(Tell::Exited { code, lost, left }) => {
                self.exited = Some(Exited { code, lost, left });
                self.drain_until = Some(BootTime::now() + DRAIN);
                Ok(None)
            }
            Some(Tell::Notice { message }) => {
                (self.job.notice)(&message);
                Ok(None)
            }
            Some(Tell::Refused { message, is_missing }) => Ok(Some(End::Refused { message, is_missing })),
            Some(_) => Ok(None),
        }
    }

    /// Ends all of the job's processes from here.
    fn end_job(&self, term_grace: Duration) {
        let started = self.started.as_ref();
        let job = Outside {
            token: self.job.token,
            cgroup: started.and_then(|s| s.cgroup.clone()),
            known: started.map(|s| s.process),
        };
        job.end(term_grace);
    }
}
