//! One try of one job, as a keeper makes it: asks, waits, holds, renews, and gives back. Every decision is
//! the core's.

use std::time::Duration;

use pipeline_lock::{
    lock::{
        Beat, EpochMs, Holder, LockState, Moment, Outcome, Plan, Request, Sight, Standing, Term, Watch, plan,
    },
    store::{Renewal, Swap},
};

use crate::{
    HEARTBEAT, LEASE,
    server::{Op, Reply},
};

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Worked,
    Revoked,
    LeaseOver,
    Left,
    Busy,
    Superseded,
    Obsolete,
    QueueFull,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Asking,
    /// It found its own hold, and renews to learn how long that lasts.
    Confirming,
    Working,
    /// It gives back what it has.
    Ending(End),
    Over(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Look,
    Heartbeat,
    WorkDone,
    Deadline,
    GiveUp,
}

/// What a client wants of the world.
#[derive(Debug)]
pub enum Act {
    Send(Box<Op>),
    Wake(Moment, Timer),
    /// Its work begins, or goes on, and has ended by then at the latest.
    RunsUntil(Moment),
    /// The work of a static hold begins: it ends at this time of the store's clock.
    RunsUntilStoreTime(EpochMs),
    Stops,
    Broken(String),
}

/// What a client knows of time, and of its host's dead.
pub struct Now<'a> {
    pub moment: Moment,
    pub wall: EpochMs,
    pub gone: &'a [pipeline_lock::lock::Token],
}

pub struct Client {
    pub request: Request,
    pub phase: Phase,
    may_wait: bool,
    work: Duration,
    static_for: Option<Duration>,
    linger: Option<Duration>,
    watch: Watch,
    was_queued: bool,
    sent: Moment,
    beat: Beat,
    deadline: Option<Moment>,
    /// Whether something was never answered.
    pub unanswered: bool,
    until: Option<Moment>,
    store_clock: Option<(EpochMs, Moment)>,
    pub acts: Vec<Act>,
}

impl Client {
    pub fn new(
        request: Request,
        may_wait: bool,
        work: Duration,
        static_for: Option<Duration>,
        linger: Option<Duration>,
    ) -> Self {
        Self {
            request,
            phase: Phase::Asking,
            may_wait,
            work,
            static_for,
            linger,
            watch: Watch::default(),
            was_queued: false,
            sent: Moment(Duration::ZERO),
            beat: Beat(0),
            deadline: None,
            unanswered: false,
            until: None,
            store_clock: None,
            acts: Vec::new(),
        }
    }

    /// Whether it waits in the queue, as far as it knows.
    pub const fn is_waiting(&self) -> bool {
        self.was_queued && matches!(self.phase, Phase::Asking)
    }

    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Whether it has a hold that it looks after.
    pub const fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Confirming | Phase::Working | Phase::Ending(_))
    }

    pub fn begin(&mut self, now: &Now<'_>) {
        // The time of a static hold is the store's, which a first reply tells.
        if self.static_for.is_some() { self.read(now, true) } else { self.first_write(now) }
    }

    pub fn reply(&mut self, reply: Reply, store_time: EpochMs, now: &Now<'_>) {
        self.store_clock = Some((EpochMs(store_time.0 / 1000 * 1000), now.moment));
        match (self.phase, reply) {
            (Phase::Asking, Reply::Swap(Swap::Swapped(state)))
                if state.holder(self.request.token).is_some() =>
            {
                self.granted(&state, now);
            }
            (Phase::Asking, Reply::Swap(Swap::Swapped(state))) => {
                self.was_queued = true;
                self.step(state, now);
            }
            (Phase::Asking, Reply::Document(state) | Reply::Swap(Swap::Conflict(state)))
            | (Phase::Confirming, Reply::Renewal(Renewal::Gone(state)) | Reply::Document(state)) => {
                self.phase = Phase::Asking;
                self.see(state, now);
            }
            (Phase::Confirming, Reply::Renewal(Renewal::Renewed(state))) => self.granted(&state, now),
            (Phase::Working, Reply::Renewal(renewal)) => self.renewed(renewal, now),
            (Phase::Ending(_), Reply::Swap(Swap::Swapped(_))) => self.finish(now),
            (Phase::Ending(_), Reply::Document(state) | Reply::Swap(Swap::Conflict(state))) => {
                self.give_back(state, now);
            }
            (phase, reply) => self.acts.push(Act::Broken(format!("{phase:?} was answered with {reply:?}"))),
        }
    }

    /// No reply came in time.
    pub fn unanswered(&mut self, now: &Now<'_>) {
        self.unanswered = true;
        match self.phase {
            Phase::Working => self.renew(now),
            Phase::Over(_) => {}
            _ => self.read(now, true),
        }
    }

    /// A timer is due; `busy` says whether a request is under way.
    pub fn wake(&mut self, timer: Timer, busy: bool, now: &Now<'_>) {
        match (timer, self.phase) {
            (Timer::Look, Phase::Asking) if !busy => self.read(now, false),
            (Timer::Look, Phase::Ending(_)) if !busy => self.read(now, true),
            (Timer::Heartbeat, Phase::Working) if !busy => self.renew(now),
            (Timer::WorkDone, Phase::Working) => self.end(End::Worked, now),
            (Timer::GiveUp, Phase::Asking | Phase::Confirming) => self.end(End::Left, now),
            (Timer::Deadline, Phase::Working)
                if self.deadline.is_some_and(|d| d <= now.moment.plus(Duration::from_millis(2))) =>
            {
                self.end(End::LeaseOver, now);
            }
            _ => {}
        }
    }

    fn send(&mut self, op: Op, now: &Now<'_>) {
        self.sent = now.moment;
        self.acts.push(Act::Send(Box::new(op)));
    }

    fn read(&mut self, now: &Now<'_>, strong: bool) {
        self.send(Op::Read { strong }, now);
    }

    fn renew(&mut self, now: &Now<'_>) {
        self.beat = self.beat.next();
        self.send(Op::Renew { token: self.request.token, beat: self.beat }, now);
    }

    fn store_now(&self, now: &Now<'_>) -> EpochMs {
        self.store_clock.map_or(now.wall, |(time, at)| time.plus(now.moment.since(at)))
    }

    fn refresh(&mut self, now: &Now<'_>) {
        self.request.since = now.wall;
        if let Some(ttl) = self.static_for {
            self.request.term = Term::Static { until: Some(self.store_now(now).plus(ttl)) };
        }
    }

    fn first_write(&mut self, now: &Now<'_>) {
        self.refresh(now);
        let mut new = LockState::new(now.wall);
        new.holders.push(Holder::granted(&self.request, None));
        self.send(Op::SwapFree { seed: now.wall, new }, now);
    }

    fn see(&mut self, state: Option<LockState>, now: &Now<'_>) {
        match state {
            Some(state) => self.step(state, now),
            None => self.first_write(now),
        }
    }

    fn step(&mut self, current: LockState, now: &Now<'_>) {
        self.refresh(now);
        self.watch.observe(&current, now.moment);
        self.was_queued |= current.waiter(self.request.token).is_some();
        let sight = Sight {
            now: now.moment,
            store_now: self.store_now(now),
            gone: now.gone,
            may_queue: self.may_wait,
            was_queued: self.was_queued,
        };
        match plan(&current, &self.request, &self.watch, sight, now.wall) {
            Plan::Hold if self.static_for.is_some() => self.granted(&current, now),
            Plan::Hold => {
                self.phase = Phase::Confirming;
                if let Some(Term::Live { beat, .. }) = current.holder(self.request.token).map(|h| h.term) {
                    self.beat = self.beat.max(beat);
                }
                self.renew(now);
            }
            Plan::Write { outcome: Outcome::Busy, .. } | Plan::Busy => self.over(End::Busy),
            Plan::Write { outcome: Outcome::QueueFull(_), .. } | Plan::QueueFull(_) => {
                self.over(End::QueueFull)
            }
            Plan::Write { outcome: Outcome::Obsolete { .. }, .. } => self.end(End::Obsolete, now),
            Plan::Obsolete { .. } => self.over(End::Obsolete),
            Plan::Write { next, .. } => self.send(Op::SwapThis { expected: current, new: *next }, now),
            Plan::Wait(look) => self.acts.push(Act::Wake(now.moment.plus(look), Timer::Look)),
            Plan::Superseded => self.over(End::Superseded),
            plan @ Plan::Newer => self.acts.push(Act::Broken(format!("{plan:?}"))),
        }
    }

    fn granted(&mut self, state: &LockState, now: &Now<'_>) {
        if let Some(Term::Static { until: Some(until) }) = state.holder(self.request.token).map(|h| h.term) {
            self.acts.push(Act::RunsUntilStoreTime(until));
            return self.over(End::Worked);
        }
        self.phase = Phase::Working;
        self.acts.push(Act::Wake(now.moment.plus(self.work), Timer::WorkDone));
        self.acts.push(Act::Wake(self.sent.plus(HEARTBEAT), Timer::Heartbeat));
        self.proven();
    }

    /// The lease counts from when the request was sent.
    fn proven(&mut self) {
        let deadline = self.sent.plus(LEASE);
        self.deadline = Some(deadline);
        self.acts.push(Act::RunsUntil(deadline));
        self.acts.push(Act::Wake(deadline, Timer::Deadline));
    }

    fn renewed(&mut self, renewal: Renewal, now: &Now<'_>) {
        let Renewal::Renewed(state) = renewal else {
            return self.acts.push(Act::Broken("a hold was lost before its deadline".into()));
        };
        self.proven();
        self.acts.push(Act::Wake(self.sent.plus(HEARTBEAT), Timer::Heartbeat));
        match state.standing(self.request.token, &self.request.owner) {
            Standing::Held => {}
            Standing::Revoked { .. } => self.end(End::Revoked, now),
            other => self.acts.push(Act::Broken(format!("renewed, and {other:?}"))),
        }
    }

    fn end(&mut self, end: End, now: &Now<'_>) {
        self.acts.push(Act::Stops);
        self.phase = Phase::Ending(end);
        // A write that was not answered may still arrive: it is looked for as long as it could hold.
        self.until = Some(if self.unanswered { now.moment.plus(LEASE) } else { now.moment });
        self.read(now, true);
    }

    fn give_back(&mut self, state: Option<LockState>, now: &Now<'_>) {
        let Some(state) = state else { return self.finish(now) };
        let mut next = state.clone();
        let gives_back = match self.phase {
            Phase::Ending(End::Worked) => {
                let linger = self.linger.map(|span| (self.store_now(now), span));
                next.part(self.request.token, linger)
            }
            _ => next.release(self.request.token),
        };
        if gives_back {
            next.seal(now.wall);
            self.send(Op::SwapThis { expected: state, new: next }, now);
        } else {
            self.finish(now);
        }
    }

    fn finish(&mut self, now: &Now<'_>) {
        if self.until.is_some_and(|until| now.moment < until) {
            self.acts.push(Act::Wake(now.moment.plus(Duration::from_secs(1)), Timer::Look));
        } else if let Phase::Ending(end) = self.phase {
            self.over(end);
        }
    }

    fn over(&mut self, end: End) {
        self.phase = Phase::Over(end);
    }
}
