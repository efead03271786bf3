//! The keeper's one owner of its state: everything that happens comes here as an event, one after the other.

use std::{io, os::fd::OwnedFd, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, JoinHandle, yield_now},
};
use tracing::{debug, info, warn};

use super::{
    cleaning::Cleaning,
    command::CommandBlock,
    ending::Ending,
    estate::Estate,
    links::Link,
    locks,
    protocol::{Ask, Last, Launch, Tell, VERSION},
    script::{self, Streams},
};
use crate::{
    client::{Client, Hold, Loss, Progress, Several},
    config::{Orphan, Survivors},
    host::{
        clock::{BootTime, sleep_until},
        ending::Ended,
        jump::LostTime,
        process::ProcId,
        program::let_go_of_code,
        subreaper,
    },
    lock::Moment,
};

/// How long the place of a prepare that died is kept for its retry.
const PARKED_FOR: Duration = Duration::from_secs(15);

/// A job whose runner calls no stage for this long is over.
const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// How often the keeper looks whether the job's folder is still there.
const FOLDER_EVERY: Duration = Duration::from_secs(10);

/// The bound of an orphaned script that has no time limit of its own: GitLab's default.
const ORPHAN_LIMIT: Duration = Duration::from_secs(3600);

/// Something that happened.
pub(super) enum Event {
    /// A stage asks.
    Heard { from: Link, ask: Ask, fds: Vec<OwnedFd> },
    /// A stage has gone.
    Closed { from: Link },
    /// A request for a lock tells how it stands.
    News(Progress),
    /// The locks are held, and the cleanup of a dead job still runs.
    BuriesFirst,
    /// The requests for the locks are done.
    Acquired(Several),
    /// A hold's deadline moved.
    Renewed,
    /// The store does not answer renewals, or does again.
    Trouble { lock: String, trouble: Option<String> },
    /// A hold is not to go on.
    Lost { lock: String, loss: Loss },
    /// The job's processes were ended, or most of them.
    ProcessesEnded(Ended),
    /// The locks were given back.
    Released(super::protocol::Farewell),
    /// The store does not take the locks back; so far this became of them.
    ReleaseIsSlow(super::protocol::Farewell),
    /// The runner is gone.
    RunnerGone,
    /// The wrapped driver's cleanup takes longer than it may.
    CleanupOverdue,
}

/// What the keeper is at.
pub(super) enum Phase {
    /// It asks for the locks.
    Acquiring(JoinHandle<()>),
    /// Its prepare died: it keeps the place for a retry, and claims nothing.
    Parked { until: BootTime },
    /// It has the locks; stages come and go.
    Holding,
    /// It waits for the job's processes to end by themselves, then gives the locks back.
    Draining,
    /// It ends the job's processes, then does what is said.
    Ending(Box<Ending>),
    /// The job has lost a lock and its processes are ended: every stage is refused until cleanup.
    Failed,
}

/// The command that runs.
pub(super) struct Running {
    pub(super) process: ProcId,
    pub(super) link: Link,
}

/// A stage that came while the job was frozen.
pub(super) struct HeldBack {
    pub(super) from: Link,
    pub(super) version: u32,
    pub(super) stage: String,
    pub(super) fds: Vec<OwnedFd>,
}

/// The keeper.
pub(super) struct Service {
    pub(super) launch: Launch,
    pub(super) estate: Estate,
    pub(super) client: Option<Client>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) holds: Vec<Hold>,
    pub(super) phase: Phase,
    pub(super) prepare: Link,
    pub(super) running: Option<Running>,
    /// Who watches over the job's processes between two stages.
    pub(super) sentinel: Option<Link>,
    pub(super) why_lost: Option<String>,
    /// Since when nothing of the job moves, as this host has stood still and its locks are not proven.
    pub(super) frozen_since: Option<Moment>,
    /// The stage that begins when that is over.
    pub(super) held_back: Option<HeldBack>,
    /// What ends the job's processes, while it does.
    pub(super) ending: Option<AbortHandle>,
    /// The locks whose holds could not be proven any longer.
    pub(super) unproven: Vec<String>,
    pub(super) runner_gone: bool,
    pub(super) started: BootTime,
    pub(super) idle_since: BootTime,
    /// When it last looked for what no event tells.
    pub(super) looked: BootTime,
    /// The cleanups that wait for the job's processes to end by themselves.
    pub(super) waiting_cleanups: Vec<Link>,
    /// Whether the locks are given back already.
    pub(super) given_back: bool,
    /// Whether the service is done and the process may end.
    pub(super) over: bool,
    /// Whether the job had its locks, so that it may have processes below this one.
    pub(super) has_begun: bool,
    /// How it stands with the wrapped driver's cleanup.
    pub(super) cleaning: Cleaning,
}

impl Service {
    /// Serves until the job is over. The result is the client, if nothing of the job is to be left in the store.
    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Event>) -> anyhow::Result<Option<Client>> {
        let mut children = signal(SignalKind::child())?;
        let mut ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()]
            .into_iter()
            .map(signal)
            .collect::<Result<Vec<Signal>, _>>()?;
        let mut time = LostTime::watch();
        while !self.over {
            let (first, rest) = ends.split_at_mut(1);
            let (second, third) = rest.split_at_mut(1);
            tokio::select! {
                Some(event) = inbox.recv() => self.happen(event),
                _ = children.recv() => {
                    // A program that a profile names (`credential_process`) is a child as well, and the task that waits for it
                    // finds nothing more when it is reaped here: so that one goes first.
                    yield_now().await;
                    self.reap();
                }
                _ = first[0].recv() => self.told_to_end(),
                _ = second[0].recv() => self.told_to_end(),
                _ = third[0].recv() => self.told_to_end(),
                lost = time.lost() => self.time_was_lost(lost),
                () = sleep_until(self.next_look()) => self.look_around(),
            }
            self.answer_who_was_held_back();
        }
        Ok(self.client)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Heard { from, ask, fds } => self.asked(from, ask, fds),
            Event::Closed { from } => self.closed(&from),
            Event::News(news) => self.prepare.tell(&Tell::News(news)),
            Event::BuriesFirst => self.buries_first(),
            Event::Acquired(acquired) => self.acquired(acquired),
            Event::Renewed => self.renewed(),
            Event::Trouble { lock, trouble } => self.trouble(&lock, trouble),
            Event::Lost { lock, loss } => self.lost(&lock, &loss),
            Event::ProcessesEnded(ended) => self.processes_ended(ended),
            Event::Released(farewell) => self.released(farewell),
            Event::ReleaseIsSlow(so_far) => self.release_is_slow(so_far),
            Event::RunnerGone => self.runner_is_gone(),
            Event::CleanupOverdue => self.cleanup_is_overdue(),
        }
    }

    fn asked(&mut self, from: Link, ask: Ask, fds: Vec<OwnedFd>) {
        match ask {
            Ask::Leave => self.end(Ending::leaving(from)),
            Ask::Run { version, stage } => self.run_asked(from, version, stage, fds),
            Ask::Signal { number } => self.pass_on(number),
            Ask::End => self.end_asked(from, fds),
            Ask::Watch => self.sentinel = Some(from),
            Ask::Yield => self.end(Ending::yielding(from)),
        }
    }

    fn closed(&mut self, link: &Link) {
        if self.sentinel.as_ref() == Some(link) {
            self.sentinel = None;
        }
        self.held_back.take_if(|stage| stage.from == *link);
        if *link == self.prepare && matches!(self.phase, Phase::Acquiring(_)) {
            info!("prepare is gone: its place is kept for a retry");
            self.park();
        }
        if self.running.as_ref().is_some_and(|running| running.link == *link) {
            // Nobody relays the output or would hear of the end: the job can't go on.
            warn!("the run stage is gone: its job is ended");
            self.why_lost.get_or_insert_with(|| "the run stage was killed; the job is ended".into());
            match self.phase {
                // It was told to end: with the job's processes its work is done.
                Phase::Draining => self.end_unasked(),
                _ => self.end(Ending::of_the_job()),
            }
        }
    }

    /// Keeps the place for a while, and takes no lock meanwhile.
    pub(super) fn park(&mut self) {
        if let Phase::Acquiring(task) = &self.phase {
            task.abort();
        }
        self.phase = Phase::Parked { until: BootTime::now() + PARKED_FOR };
    }

    fn buries_first(&self) {
        let message =
            "the lock is held; the job begins when what a dead job of this host has left is cleaned up";
        info!(message);
        self.prepare.tell(&Tell::Notice { message: message.into(), calm: true });
    }

    fn acquired(&mut self, acquired: Several) {
        if !matches!(self.phase, Phase::Acquiring(_)) {
            return;
        }
        self.holds = acquired.holds;
        let Some(failure) = acquired.failure else {
            self.idle_since = BootTime::now();
            self.phase = Phase::Holding;
            self.watch_holds();
            self.note_deadline();
            self.ready();
            return;
        };
        warn!(error = %failure, "a lock was not got");
        let last = locks::last(&failure, &self.launch.locks);
        let ours = failure.is_of_the_host() || last == Last::Requeue;
        self.prepare.tell(&Tell::Failed { message: failure.to_string(), ours, last });
        if failure.is_passing() && last == Last::No {
            self.park();
        } else {
            self.end(Ending::silently());
        }
    }

    /// The job may begin.
    pub(super) fn ready(&mut self) {
        self.has_begun = true;
        match self.cleaning_becomes_due() {
            Ok(()) => {
                self.prepare.tell(&Tell::Ready { locks: locks::got(&self.holds, &self.launch.locks) });
                // Only start-up needed most of it, and a host has many keepers.
                if let Err(error) = let_go_of_code() {
                    debug!(%error, "the program's pages stay resident");
                }
            }
            Err(error) => {
                let message = format!("what the driver's cleanup needs can't be written down: {error}");
                self.prepare.tell(&Tell::Failed { message, ours: true, last: Last::No });
                self.end(Ending::silently());
            }
        }
    }

    pub(super) fn run_asked(&mut self, from: Link, version: u32, stage: String, fds: Vec<OwnedFd>) {
        let refusal = match &self.phase {
            _ if version != VERSION => Some(format!(
                "this job's keeper is of another version of pipeline-lock (protocol {VERSION}, the stage has \
                 {version}): it was upgraded while the job ran; retry the job"
            )),
            Phase::Holding if self.running.is_some() || self.held_back.is_some() => {
                Some("another stage of this job is still running".into())
            }
            Phase::Holding if self.frozen_since.is_some() => {
                self.hold_back(HeldBack { from, version, stage, fds });
                return;
            }
            Phase::Holding if !self.may_begin() => {
                Some("the job's lock can't be proven to be held any longer; retry the job".into())
            }
            Phase::Holding => None,
            Phase::Failed | Phase::Ending(_) => {
                Some(self.why_lost.clone().unwrap_or_else(|| "the job is being ended".into()))
            }
            Phase::Acquiring(_) | Phase::Parked { .. } => Some("the job's locks are not held yet".into()),
            Phase::Draining => Some("the keeper was told to end (a signal); retry the job".into()),
        };
        let started = match refusal {
            Some(message) => Err(io::Error::other(message)),
            None => self.start(&from, fds),
        };
        match started {
            Err(error) => {
                warn!(%stage, %error, "a stage was refused");
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                from.tell(&Tell::Refused { message: error.to_string(), is_missing });
            }
            Ok(process) => {
                info!(%stage, pid = process.pid.get(), "a stage runs");
                self.estate.note_command(process);
                from.tell(&Tell::Started {
                    process,
                    cgroup: self.estate.cgroup().map(|c| c.path().to_owned()),
                    kill_grace: self.launch.terms.kill_grace,
                });
                self.running = Some(Running { process, link: from });
            }
        }
    }

    fn start(&self, from: &Link, fds: Vec<OwnedFd>) -> io::Result<ProcId> {
        let mut fds = fds.into_iter();
        let (Some(block), Some(output), Some(error)) = (fds.next(), fds.next(), fds.next()) else {
            return Err(io::Error::other("the run stage sent no command"));
        };
        let mut block = CommandBlock::from_memory(&block)?;
        let mut streams = Streams { input: fds.next(), output, error };
        if let Some(scripts) = &self.launch.scripts {
            script::arrange(scripts, &mut block, &mut streams)?;
        }
        let beside = if self.launch.in_session { from.peer().and_then(ProcId::group_of) } else { None };
        block.env.extend(script::own_variables(
            self.launch.token.to_string(),
            &self.holds,
            &self.launch.locks,
        ));
        script::start(&block, &self.launch, streams, self.estate.cgroup(), self.estate.before(), beside)
    }

    fn pass_on(&mut self, number: i32) {
        if let Some(HeldBack { from, .. }) = self.held_back.take() {
            let message = format!("signal {number} came before the script had begun");
            from.tell(&Tell::Refused { message, is_missing: false });
            return;
        }
        let running = self.running.as_ref().map(|running| running.process);
        let Some(process) = running.or_else(|| self.cleaning.process()) else { return };
        let result = if self.launch.in_session {
            // The command is in the caller's own process group: the signal goes to it alone.
            signal_of(number).map(|s| rustix::process::kill_process(process.pid.into(), s))
        } else {
            signal_of(number).map(|s| rustix::process::kill_process_group(process.pid.into(), s))
        };
        if let Some(Err(error)) = result {
            info!(number, %error, "a signal could not be passed on");
        }
    }

    /// Reaps what has ended, at every SIGCHLD.
    fn reap(&mut self) {
        let reaped = subreaper::reap();
        for (pid, status) in reaped.ended {
            if self.running.as_ref().is_some_and(|running| running.process.pid == pid) {
                self.command_ended(status, reaped.children_left);
            } else if self.cleaning.process().is_some_and(|process| process.pid == pid) {
                self.cleanup_ended(status);
            }
        }
        if !reaped.children_left {
            self.nobody_left();
        }
    }

    fn command_ended(&mut self, status: std::process::ExitStatus, children_left: bool) {
        use std::os::unix::process::ExitStatusExt;
        let Some(running) = self.running.take() else { return };
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
        info!(code, "the stage's command has ended");
        // After `exec` they are ended, or left for good.
        let is_over = self.launch.in_session && self.launch.terms.survivors == Survivors::Leave;
        let left = children_left && self.sentinel.is_none() && !is_over;
        running.link.tell(&Tell::Exited { code, signal: status.signal(), lost: self.why_lost.clone(), left });
        self.idle_since = BootTime::now();
        self.estate.note_left();
        if self.runner_gone && matches!(self.phase, Phase::Holding | Phase::Draining) {
            self.end_unasked();
        }
    }

    /// The job has no process any more.
    fn nobody_left(&mut self) {
        if matches!(self.phase, Phase::Draining) && self.estate.tree().is_over() {
            self.drained();
        }
    }

    /// TERM, INT or QUIT: systemd stops the whole service, or an operator the keeper. The lock stays until the
    /// job's processes are gone.
    fn told_to_end(&mut self) {
        info!("told to end by a signal");
        match self.phase {
            Phase::Acquiring(_) | Phase::Parked { .. } => self.end(Ending::silently()),
            Phase::Holding | Phase::Failed => {
                self.phase = Phase::Draining;
                self.nobody_left();
            }
            Phase::Draining | Phase::Ending(_) => {}
        }
    }

    fn runner_is_gone(&mut self) {
        warn!("the runner is gone");
        self.runner_gone = true;
        match self.phase {
            Phase::Acquiring(_) | Phase::Parked { .. } => self.end(Ending::silently()),
            Phase::Holding | Phase::Draining
                if self.running.is_some() && self.launch.terms.orphan == Orphan::Finish => {}
            Phase::Holding | Phase::Draining | Phase::Failed => self.end_unasked(),
            Phase::Ending(_) => {}
        }
    }

    /// Nobody goes on with the job: it ends and its locks go back, unasked. A cleanup that waits already hears of it.
    fn end_unasked(&mut self) {
        let mut ending = Ending::of_an_orphan();
        ending.callers.append(&mut self.waiting_cleanups);
        self.end(ending);
    }

    /// Counted from the last look, as events (renewals above all) may come more often than looks.
    fn next_look(&self) -> BootTime {
        match self.phase {
            Phase::Parked { until } => until,
            Phase::Draining => self.looked + Duration::from_millis(500),
            _ => self.looked + FOLDER_EVERY,
        }
    }

    /// What no event tells: time that is over, a folder that is gone.
    fn look_around(&mut self) {
        let now = BootTime::now();
        self.looked = now;
        self.estate.stay_present();
        let folder_gone = self.launch.tmpdir.as_ref().is_some_and(|dir| !dir.exists());
        let idle = now.since(self.idle_since) >= IDLE_LIMIT && !self.launch.in_session;
        let is_left = self.running.is_none() && (folder_gone || idle);
        match self.phase {
            Phase::Parked { until } if now >= until => {
                info!("no retry came: the place is given up");
                self.end(Ending::silently());
            }
            Phase::Acquiring(_) | Phase::Parked { .. } if folder_gone => self.end(Ending::silently()),
            // What is to end by itself (`survivors: wait`) goes on to do so.
            Phase::Draining if is_left && self.launch.terms.survivors == Survivors::Wait => {
                self.nobody_left()
            }
            Phase::Holding | Phase::Failed | Phase::Draining if is_left => {
                warn!(folder_gone, "the runner has left this job");
                self.end_unasked();
            }
            Phase::Holding | Phase::Draining if self.runner_gone && self.running.is_some() => {
                let limit = self.launch.job_timeout.unwrap_or(ORPHAN_LIMIT);
                if now.since(self.started) >= limit {
                    warn!("the orphaned script is over its time");
                    self.end_unasked();
                }
            }
            Phase::Draining => self.nobody_left(),
            _ => {}
        }
    }
}

fn signal_of(number: i32) -> Option<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(number)
}
