//! The work of the jobs: who really runs, until when, and beside whom. It is watched over by a switch of its own
//! host that knows no more than the deadline which the keeper has written down.

use std::sync::Arc;

use pipeline_lock::lock::{Fence, Moment};
use tokio::sync::Notify;

use crate::{
    GRACE, Real, Verdict,
    audit::{Claim, get_on},
    op::short,
    process::Process,
    scenario::START,
    world::{Inner, World},
};

/// How much later than its keeper the switch acts, in milliseconds of its clock.
const SLACK: Real = 500;

/// How much earlier than the lease all processes of the work are to be dead.
const BEFORE_THE_LEASE: Real = 1_000;

/// How much later than that they are at the latest.
const SLOW_DEATH: Real = 900;

/// How long it takes at the most until a work has ended whose keeper was killed.
const ABANDONED: Real = 500;

#[derive(Default)]
pub struct Works(Vec<Work>);

/// One job's work.
struct Work {
    /// The process of its keeper: its host and clock are the work's.
    keeper: usize,
    host: usize,
    /// What it takes of which locks, with which fencing number.
    parts: Vec<Part>,
    /// The file that the keeper writes: until when each hold is proven.
    deadlines: Vec<Option<Moment>>,
    ends: Real,
    is_doomed: bool,
    has_ended: bool,
    changed: Arc<Notify>,
    over: Arc<Notify>,
}

/// A work's part of one lock.
#[derive(Clone, Debug)]
pub struct Part {
    pub lock: usize,
    pub claim: Claim,
    pub fence: Fence,
    pub slot: u32,
    /// The name in the trace.
    pub name: String,
    /// How it ends when nobody watches over it: by the store's clock.
    pub until: Option<u64>,
}

impl Works {
    pub fn host_dies(&mut self, host: usize, now: Real) {
        for work in self.0.iter_mut().filter(|work| work.host == host && !work.is_static()) {
            work.ends = work.ends.min(now);
            work.changed.notify_one();
        }
    }
}

impl Work {
    /// Nobody watches over it.
    fn is_static(&self) -> bool {
        self.parts.iter().any(|part| part.until.is_some())
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadlines.iter().flatten().min().copied()
    }
}

impl Inner {
    /// The true time at which the clock of a work's host is so many milliseconds before its deadline.
    fn before_the_deadline(&self, work: usize, span: Real) -> Option<Real> {
        let deadline = self.works.0[work].deadline()?;
        let span = std::time::Duration::from_millis(span);
        Some(self.plan(self.works.0[work].keeper).clock.real(Moment(deadline.0.saturating_sub(span))))
    }

    /// Whether any of its processes runs now. At the moment of a thaw a switch that is due has acted.
    fn is_running(&self, work: usize) -> bool {
        let it = &self.works.0[work];
        if let Some(until) = it.parts.iter().find_map(|part| part.until) {
            return !it.has_ended && START + self.now <= until;
        }
        let frozen = &self.scenario.hosts[it.host].frozen;
        let is_frozen = frozen.iter().any(|window| window.contains(&self.now));
        let thaws = frozen.iter().any(|window| window.end == self.now);
        let is_due = self.before_the_deadline(work, BEFORE_THE_LEASE).is_some_and(|at| at <= self.now);
        let is_over = it.has_ended || it.ends <= self.now || thaws && is_due;
        !is_over && !is_frozen
    }

    /// Those who run now get on, each in a slot of its own.
    pub fn check_runs(&self) -> Verdict {
        let running: Vec<&Work> = (0..self.works.0.len())
            .filter(|work| self.is_running(*work))
            .map(|work| &self.works.0[work])
            .collect();
        for lock in 0..self.scenario.locks {
            let parts: Vec<&Part> =
                running.iter().flat_map(|work| &work.parts).filter(|part| part.lock == lock).collect();
            let claims: Vec<Claim> = parts.iter().map(|part| part.claim.clone()).collect();
            let names = || parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
            if !get_on(&claims) {
                return Err(format!("on lock-{lock} these run together: {}", names()));
            }
            for (i, one) in parts.iter().enumerate() {
                let same = |other: &&&Part| other.slot == one.slot && !is_same_hold(one, other);
                if parts[..i].iter().any(|other| same(&other)) {
                    return Err(format!("on lock-{lock} one slot is used twice: {}", names()));
                }
            }
        }
        Ok(())
    }

    /// Each is the one that the store has granted, and greater than those of all who held before and could not have held beside it.
    fn fences_grow(&self, parts: &[Part]) -> Verdict {
        for part in parts {
            let granted = self.documents.lock(part.lock).fences.get(&part.claim.token);
            if granted != Some(&part.fence) {
                return Err(format!("{} has fence {}, was granted {granted:?}", part.name, part.fence));
            }
            let earlier = self.works.0.iter().flat_map(|work| &work.parts).filter(|p| p.lock == part.lock);
            for other in earlier {
                let beside = get_on(&[other.claim.clone(), part.claim.clone()]);
                if other.fence == part.fence || !beside && other.fence > part.fence {
                    return Err(format!(
                        "{} has fence {} of lock-{} after {} had {}",
                        part.name, part.fence, part.lock, other.name, other.fence
                    ));
                }
            }
        }
        Ok(())
    }

    /// From now on it ends by itself within the grace, and before the lease in any case.
    fn term(&mut self, work: usize, kill_at_once: bool) {
        if std::mem::replace(&mut self.works.0[work].is_doomed, true) {
            return;
        }
        let now = self.now;
        let slow = if self.rng.u32(0..4) == 0 { SLOW_DEATH } else { 0 };
        let last = self.before_the_deadline(work, BEFORE_THE_LEASE - slow).unwrap_or(now + GRACE_MS);
        let last = if kill_at_once { last.min(now + ABANDONED) } else { last.min(now + GRACE_MS) }.max(now);
        let stubborn = self.rng.u32(0..3) == 0;
        let ends = if stubborn { last } else { self.rng.u64(now..=last) };
        let work = &mut self.works.0[work];
        work.ends = work.ends.min(ends);
        work.changed.notify_one();
    }
}

const GRACE_MS: Real = GRACE.as_millis() as Real;

/// Whether both are members of one pipeline's hold.
fn is_same_hold(one: &Part, other: &Part) -> bool {
    one.claim.token == other.claim.token
        || one.claim.owner.has_members() && one.claim.owner == other.claim.owner
}

/// A work, for its keeper.
#[derive(Clone)]
pub struct Handle {
    world: World,
    work: usize,
}

impl Handle {
    /// The work of `keeper` begins, unless its switch is due already.
    pub fn begin(keeper: &Process, parts: Vec<Part>, deadlines: Vec<Option<Moment>>, lasts: Real) -> Self {
        let world = keeper.world.clone();
        let mut inner = world.look();
        let is_over = parts.iter().any(|part| part.until.is_some_and(|until| until < START + inner.now));
        let work = Work {
            keeper: keeper.id,
            host: inner.processes[keeper.id].host,
            parts,
            deadlines,
            ends: inner.now + lasts,
            is_doomed: false,
            has_ended: false,
            changed: Arc::default(),
            over: Arc::default(),
        };
        let fair = inner.fences_grow(&work.parts);
        inner.works.0.push(work);
        let work = inner.works.0.len() - 1;
        let is_due = inner.before_the_deadline(work, GRACE_MS - SLACK).is_some_and(|at| at <= inner.now);
        if is_due || is_over {
            inner.works.0[work].has_ended = true;
            inner.tell(keeper.id, || "does not begin: its deadline is near".into());
        } else {
            let text = format!(
                "RUNS with {}",
                inner.works.0[work]
                    .parts
                    .iter()
                    .map(|p| format!("fence {} of lock-{}", p.fence.0 % 1_000_000, p.lock))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            inner.tell(keeper.id, || text);
            let fair = fair.and_then(|()| inner.check_runs());
            inner.must(fair);
        }
        drop(inner);
        world.ring_if_broken();
        let handle = Self { world, work };
        tokio::spawn(handle.clone().switch());
        handle
    }

    /// The dead man's switch, and the end of the work itself.
    async fn switch(self) {
        loop {
            let (next, frozen, changed) = {
                let mut inner = self.world.look();
                let (now, work) = (inner.now, self.work);
                let host = inner.works.0[work].host;
                let frozen = inner.scenario.hosts[host].frozen.iter();
                let frozen = frozen.filter(|w| w.contains(&now)).map(|w| w.end).max();
                let is_up = inner.scenario.hosts[host].dies.is_none_or(|at| now < at);
                if let Some(end) = frozen.filter(|_| is_up && !inner.works.0[work].is_static()) {
                    (end, true, inner.works.0[work].changed.clone())
                } else {
                    let due = inner.before_the_deadline(work, GRACE_MS - SLACK);
                    if due.is_some_and(|due| due <= now) {
                        inner.term(work, false);
                    }
                    let it = &mut inner.works.0[work];
                    if it.ends <= now || it.has_ended {
                        it.has_ended = true;
                        it.over.notify_waiters();
                        let keeper = it.keeper;
                        inner.tell(keeper, || "has ended its work".into());
                        return;
                    }
                    let due = due.filter(|_| !it.is_doomed).unwrap_or(Real::MAX);
                    (it.ends.min(due), false, it.changed.clone())
                }
            };
            tokio::select! {
                biased;
                () = changed.notified(), if !frozen => {}
                () = self.world.until(next) => {}
            }
        }
    }

    /// The keeper writes down until when one of its holds is proven.
    pub fn prove(&self, hold: usize, deadline: Option<Moment>) {
        let mut inner = self.world.look();
        let work = &mut inner.works.0[self.work];
        work.deadlines[hold] = deadline;
        work.changed.notify_one();
    }

    /// The keeper tells the work to end.
    pub fn term(&self) {
        self.world.look().term(self.work, false);
    }

    /// Nobody gives it a sign of life any more: it is killed.
    pub fn abandon(&self) {
        self.world.look().term(self.work, true);
    }

    /// Returns when all of it has ended.
    pub async fn over(&self) {
        let over = self.world.look().works.0[self.work].over.clone();
        loop {
            let notified = over.notified();
            if self.world.look().works.0[self.work].has_ended {
                return;
            }
            notified.await;
        }
    }
}

/// The work whose keeper is `process`, if there is one.
pub fn of(process: &Process) -> Option<Handle> {
    let inner = process.world.look();
    let work = inner.works.0.iter().position(|work| work.keeper == process.id)?;
    Some(Handle { world: process.world.clone(), work })
}

/// How a part is called in the trace.
pub fn name(part: &Claim) -> String {
    format!("{} of {}", short(part.token), part.owner)
}
