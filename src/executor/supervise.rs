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
    Limits, Signals,
    flow::Flow,
    limits::{Countdown, Due},
    relay::Relay,
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
        /// The signal, if one ended it.
        signal: Option<i32>,
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
    /// It took longer than its limits allow. What lives of it is the keeper's to end.
    TimedOut {
        /// As for a command that ended by itself.
        left: Option<Left>,
    },
    /// It was told to end and lives on. It is the keeper's to end.
    Deaf,
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
    /// Its keeper; none where not all below that may be ended.
    pub keeper: Option<ProcId>,
    /// The command's output, if it goes through this process: one relay for each stream.
    pub relays: Vec<Relay>,
    /// The times of the command; none: it may take as long as it likes.
    pub limits: Option<Limits>,
    /// The signals to pass on.
    pub signals: &'a Signals,
    /// Whether a terminal tells the command of signals too, so that INT and QUIT need not be passed on.
    pub in_terminal: bool,
    /// Says something in the job's log; whether it is good news.
    pub notice: &'a mut dyn FnMut(&str, bool),
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
    signal: Option<i32>,
    lost: Option<String>,
    left: bool,
}

struct Watch<'a> {
    job: Supervision<'a>,
    flows: Vec<Flow>,
    timer: BootTimer,
    countdown: Countdown,
    is_overdue: bool,
    started: Option<Started>,
    exited: Option<Exited>,
    drain_until: Option<BootTime>,
    terminations: u32,
}

/// What a round of polling found.
#[derive(Default)]
struct Found {
    keeper: bool,
    signals: bool,
    /// The flows whose descriptors are ready, by their place.
    flows: Vec<usize>,
}

impl<'a> Watch<'a> {
    fn new(mut job: Supervision<'a>) -> io::Result<Self> {
        let flows = std::mem::take(&mut job.relays).into_iter().map(Flow::new).collect();
        Ok(Self {
            flows,
            timer: BootTimer::new()?,
            countdown: Countdown::start(job.limits, BootTime::now()),
            is_overdue: false,
            started: None,
            exited: None,
            drain_until: None,
            terminations: 0,
            job,
        })
    }

    fn run(mut self) -> io::Result<End> {
        loop {
            if self.exited.is_some() && self.is_drained() {
                return Ok(self.end());
            }
            if self.exited.is_none() {
                if self.is_overdue_for_the_lease() {
                    warn!("the keeper gives no news and the lease is about to end");
                    self.end_job(until_the_lease(&self.job.deadline));
                    return Ok(End::KeeperStalled);
                }
                if let Some(end) = self.keep_limits() {
                    return Ok(end);
                }
            }
            let found = self.wait()?;
            if found.signals {
                self.pass_signals_on();
            }
            found.flows.into_iter().for_each(|flow| self.flows[flow].ready());
            if found.keeper
                && let Some(end) = self.hear()?
            {
                return Ok(end);
            }
        }
    }

    fn end(&mut self) -> End {
        let Some(Exited { code, signal, lost, left }) = self.exited.take() else { return End::KeeperDied };
        let left = self.started.as_ref().filter(|_| left && self.job.deadline.get().is_some());
        let left = left.map(|s| Left { cgroup: s.cgroup.clone(), kill_grace: s.kill_grace });
        if self.is_overdue { End::TimedOut { left } } else { End::Exited { code, signal, lost, left } }
    }

    /// Does what the command's times ask for.
    fn keep_limits(&mut self) -> Option<End> {
        match self.countdown.due(BootTime::now())? {
            Due::Term => {
                self.is_overdue = true;
                self.signal(SIGTERM);
            }
            Due::Kill => self.signal(SIGKILL),
            Due::GiveUp => {
                return Some(if self.is_overdue { End::TimedOut { left: None } } else { End::Deaf });
            }
        }
        None
    }

    /// Whether the output of a command that has ended is passed on: all of it, or what there was when the time
    /// for draining was over.
    fn is_drained(&mut self) -> bool {
        if self.flows.iter().all(Flow::is_closed) {
            return true;
        }
        if self.drain_until.is_some_and(|until| BootTime::now() < until) {
            return false;
        }
        self.drain_until = None;
        // Each is asked: what it owes is settled at the first time.
        let mut all = true;
        for flow in &mut self.flows {
            all &= flow.is_paid();
        }
        all
    }

    fn wait(&mut self) -> io::Result<Found> {
        self.timer.arm(self.next_time())?;
        let mut fds = vec![
            PollFd::new(self.job.connection.stream(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
        ];
        if self.exited.is_some() {
            fds[0] = PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN);
        }
        fds.extend(self.job.signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let signals = 2..fds.len();
        let polled: Vec<(usize, (BorrowedFd<'_>, PollFlags))> =
            self.flows.iter().enumerate().filter_map(|(at, flow)| Some((at, flow.to_poll()?))).collect();
        fds.extend(polled.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let flows =
            polled.iter().zip(&fds[signals.end..]).filter(|(_, fd)| ready(fd)).map(|((at, _), _)| *at);
        Ok(Found {
            keeper: self.exited.is_none() && ready(&fds[0]),
            flows: flows.collect(),
            signals: fds[signals].iter().any(ready),
        })
    }

    /// When to look even though nothing happens.
    fn next_time(&self) -> BootTime {
        let far = BootTime::now() + Duration::from_secs(3600);
        let times = if self.exited.is_some() {
            [self.drain_until, None]
        } else {
            [self.switch_time(), self.countdown.next()]
        };
        times.into_iter().flatten().fold(far, BootTime::min)
    }

    fn switch_time(&self) -> Option<BootTime> {
        let grace = self.started.as_ref().map_or(Duration::ZERO, |s| s.kill_grace);
        switch_time(&self.job.deadline, grace)
    }

    fn is_overdue_for_the_lease(&self) -> bool {
        self.switch_time().is_some_and(|at| BootTime::now() >= at)
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
                    self.countdown.told(BootTime::now());
                    if self.terminations > 1 { SIGKILL } else { number }
                }
                other => other,
            };
            self.signal(number);
        }
    }

    fn signal(&self, number: i32) {
        info!(number, "a signal is passed on");
        if let Err(error) = self.job.connection.ask(&Ask::Signal { number }, &[]) {
            warn!(%error, "the keeper can't be told of a signal");
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
            Some(Tell::Exited { code, signal, lost, left }) => {
                self.exited = Some(Exited { code, signal, lost, left });
                self.drain_until = Some(BootTime::now() + DRAIN);
                Ok(None)
            }
            Some(Tell::Notice { message, calm }) => {
                (self.job.notice)(&message, calm);
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
            keeper: self.job.keeper,
        };
        job.end(term_grace);
    }
}
