//! What watches over a work: a switch of its own host that knows no more than the deadline which the keeper has
//! written down, and the keeper's hand on it.

use std::sync::Arc;

use pipeline_lock::lock::Moment;

use crate::{
    Real,
    process::Process,
    scenario::START,
    works::{GRACE_MS, Part, Work},
    world::World,
};

/// How much later than its keeper the switch acts, in milliseconds of its clock.
const SLACK: Real = 500;

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
            let fair = fair.and_then(|()| inner.relies_on_what_is_proven(work));
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
        let fair = inner.relies_on_what_is_proven(self.work);
        inner.must(fair);
        drop(inner);
        self.world.ring_if_broken();
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
