//! The way between a process and the store, and back: slow, lossy, and sometimes served twice.

use std::time::Duration;

use async_trait::async_trait;
use pipeline_lock::{
    client::Clock,
    lock::{Beat, Ending, EpochMs, LockName, LockState, Token},
    store::{Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap},
};
use tokio::sync::oneshot;

use crate::{
    Real,
    op::{Op, Reply, number},
    process::{Phase, Process},
    scenario::START,
    world::Inner,
};

/// How long a client waits for a reply.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(2);

/// What is slower than this counts as trouble.
const SLOW: Real = 400;

/// Who waits for a reply that is lost has given up long before.
const LOST: Real = 10_000;

/// A write that arrives later than this is not looked for any more by who sent it.
const LOOKED_FOR: Real = 27_000;

/// A throttled waiter looks less often for so long.
const THROTTLED_FOR: Real = 150_000;

/// What becomes of one request.
struct Fate {
    /// How long it is under way, if it arrives.
    out: Option<Real>,
    /// How long its reply is, if that arrives.
    back: Option<Real>,
    /// It is served again after so long.
    again: Option<Real>,
    /// How many versions old an eventually consistent read is.
    stale: usize,
}

impl Inner {
    /// Draws what becomes of a request of `id`, and notes it as trouble where it is some.
    fn fate(&mut self, id: usize) -> Result<Fate, StoreError> {
        self.requests += 1;
        let mut fate =
            Fate { out: Some(self.rng.u64(1..30)), back: Some(self.rng.u64(1..30)), again: None, stale: 0 };
        if self.is_quiet() {
            return Ok(fate);
        }
        let (now, plan) = (self.now, self.plan(id));
        if plan.refused.iter().any(|window| window.contains(&now)) {
            return Err(StoreError::Refused("no permission today".into()));
        }
        if plan.cut_off.iter().any(|window| window.contains(&now)) {
            if self.rng.bool() {
                return Err(StoreError::Unavailable("no route to the store".into()));
            }
            fate.out = None;
            return Ok(fate);
        }
        let network = self.scenario.network;
        if network.is_well() {
            return Ok(fate);
        }
        let mut happens = |odds: u32| self.rng.u32(0..1000) < odds;
        if happens(network.throttled) {
            self.trouble(id, now + THROTTLED_FOR);
            return Err(StoreError::Throttled("no capacity left".into()));
        }
        let (lost, reply_lost, late) =
            (happens(network.lost), happens(network.reply_lost), happens(network.late));
        let (twice, stale) = (happens(network.twice), happens(network.stale));
        fate.out = if lost { None } else { fate.out };
        fate.back = if reply_lost { None } else { fate.back };
        if late {
            let leg = if self.rng.bool() { &mut fate.out } else { &mut fate.back };
            let longest = if self.rng.bool() { 3_000 } else { 45_000 };
            *leg = leg.map(|_| self.rng.u64(100..longest));
        }
        fate.again = twice.then(|| self.rng.u64(1..45_000));
        fate.stale = if stale { self.rng.usize(1..4) } else { 0 };
        Ok(fate)
    }

    fn note_fate(&mut self, id: usize, fate: &Fate) {
        let under_way = fate.out.zip(fate.back).map(|(out, back)| out + back);
        let lasts = under_way.map_or(3_000, |time| time.min(3_000));
        if lasts > SLOW || fate.stale > 0 || fate.again.is_some() {
            self.trouble(id, self.now + lasts + 500);
        }
        if let Some(out) = fate.out {
            self.documents.excuse_arrival(self.now + out, out > SLOW);
        }
    }
}

impl Inner {
    /// Nobody is over while a write of it is on its way that it could wait for.
    fn comes_in_time(&mut self, id: usize, lock: usize) {
        let process = &self.processes[id];
        let is_waited_for = process.phase != Phase::Over || process.is_dead || process.may_haunt;
        if !is_waited_for && process.token.is_some_and(|token| self.has_something(token, lock)) {
            let error = format!("{} got something of lock-{lock} after its end", process.name);
            self.must(Err(error));
        }
    }
}

impl Process {
    /// Sends `op`, and waits for its reply.
    async fn ask(&self, name: &LockName, op: Op) -> Result<Reply, StoreError> {
        self.pause().await;
        let lock = number(name);
        let is_write = !matches!(op, Op::Read { .. });
        let fate = {
            let mut inner = self.world.look();
            let fate = inner.fate(self.id);
            match &fate {
                Ok(fate) => inner.note_fate(self.id, fate),
                Err(error) => {
                    let until = inner.now + 6_000;
                    inner.trouble(self.id, until);
                    inner.tell(self.id, || format!("asks lock-{lock} {op:?}: {error}"));
                }
            }
            fate
        };
        let fate = match fate {
            Ok(fate) => fate,
            Err(error) => {
                self.world.wait(5).await;
                self.gate().await;
                return Err(error);
            }
        };
        let deadline = Clock::now(self).plus(REQUEST_DEADLINE);
        self.world.tell(self.id, || {
            format!("asks lock-{lock} {op:?}, there in {:?}, back in {:?}", fate.out, fate.back)
        });
        let (answer, mut answered) = oneshot::channel();
        self.send(lock, op, &fate, is_write, answer);
        let reply = tokio::select! {
            biased;
            reply = &mut answered => reply.ok(),
            () = self.until_own(deadline) => None,
        };
        self.pause().await;
        match reply.or_else(|| answered.try_recv().ok()) {
            Some((reply, store_time)) => {
                self.read_clock(store_time);
                Ok(reply)
            }
            None => {
                self.world.look().processes[self.id].has_unanswered |= is_write;
                Err(StoreError::Unanswered("no reply in time".into()))
            }
        }
    }

    async fn until_own(&self, deadline: pipeline_lock::lock::Moment) {
        self.world.until(self.world.real(self.id, deadline)).await;
    }

    /// The request on its way, whatever becomes of the one who sent it.
    fn send(&self, lock: usize, op: Op, fate: &Fate, is_write: bool, answer: oneshot::Sender<(Reply, Real)>) {
        let Some(out) = fate.out else {
            // Nobody answers: the sender keeps waiting until its deadline.
            let world = self.world.clone();
            tokio::spawn(async move {
                world.wait(LOST).await;
                drop(answer);
            });
            return;
        };
        if let Some(again) = fate.again {
            let (me, op) = (self.clone(), op.clone());
            me.leaves(is_write);
            tokio::spawn(async move {
                me.world.wait(out + again).await;
                me.haunts();
                me.arrives(lock, &op, 0, is_write);
            });
        }
        let (back, stale, me) = (fate.back, fate.stale, self.clone());
        me.leaves(is_write);
        tokio::spawn(async move {
            me.world.wait(out).await;
            if out > LOOKED_FOR {
                me.haunts();
            }
            let answered = me.arrives(lock, &op, stale, is_write);
            me.world.wait(back.unwrap_or(LOST)).await;
            if back.is_some() {
                let _ = answer.send(answered);
            }
        });
    }

    /// What arrives now may stay as a ghost until its lease ends.
    fn haunts(&self) {
        self.world.look().processes[self.id].may_haunt = true;
    }

    fn leaves(&self, is_write: bool) {
        self.world.look().processes[self.id].in_flight += u32::from(is_write);
    }

    fn arrives(&self, lock: usize, op: &Op, stale: usize, is_write: bool) -> (Reply, Real) {
        let mut inner = self.world.look();
        let reply = inner.serve(self.id, lock, op, stale);
        inner.comes_in_time(self.id, lock);
        inner.processes[self.id].in_flight -= u32::from(is_write);
        let now = inner.now;
        drop(inner);
        self.world.ring_if_broken();
        (reply, now)
    }

    /// A reply has the store's time on it, in whole seconds.
    fn read_clock(&self, store_time: Real) {
        let at = Clock::now(self);
        let seconds = (START + store_time) / 1000;
        self.world.look().processes[self.id].reading = Some((EpochMs(seconds * 1000), at));
    }
}

#[async_trait]
impl Store for Process {
    async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<LockState>, StoreError> {
        match self.ask(name, Op::Read { strong: consistency == Consistency::Strong }).await? {
            Reply::Document(state) => Ok(state),
            other => unreachable!("a read is answered with {other:?}"),
        }
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let op = match expected {
            Expected::Free { seed } => Op::SwapFree { seed, new: new.clone() },
            Expected::This(expected) => Op::SwapThis { expected: expected.clone(), new: new.clone() },
        };
        match self.ask(name, op).await? {
            Reply::Swap(swap) => Ok(swap),
            other => unreachable!("a swap is answered with {other:?}"),
        }
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        match self.ask(name, Op::Renew { token, beat }).await? {
            Reply::Renewal(renewal) => Ok(renewal),
            other => unreachable!("a renewal is answered with {other:?}"),
        }
    }

    async fn list(&self, _: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        Err(StoreError::Refused("nobody asks for a list here".into()))
    }

    /// The history is off the way of every hold: nothing here depends on it.
    async fn record(&self, _: &LockName, _: &Ending) -> Result<(), StoreError> {
        Ok(())
    }

    async fn endings(&self, _: &LockName) -> Result<Vec<Ending>, StoreError> {
        Ok(Vec::new())
    }

    fn now(&self) -> EpochMs {
        let (wall, now) = (Clock::wall(self), Clock::now(self));
        let reading = self.world.look().processes[self.id].reading;
        reading.map_or(wall, |(time, at)| time.plus(now.since(at)))
    }

    fn liveness(&self) -> Liveness {
        Liveness::Lease
    }

    fn request_deadline(&self) -> Duration {
        REQUEST_DEADLINE
    }

    fn describe(&self) -> String {
        "a simulated store".into()
    }
}
