//! The processes: how they stand, stop and die, and since when they are well.

use std::{ops::Range, sync::Arc};

use pipeline_lock::{
    Client,
    lock::{EpochMs, Moment, Request, Token},
};
use tokio::sync::Notify;

use crate::{
    Real,
    world::{Inner, World},
};

/// After trouble with the store a process may pause so long until its next request, and wait for that.
const RECOVERY: Real = 9_000;

/// No process stands still for longer. Who was throttled looks less often for longer than that, and is waited for.
const LONGEST_STALL: Real = 45_000;

/// One process of a host.
pub struct State {
    pub name: String,
    pub host: usize,
    pub token: Option<Token>,
    pub stalls: Vec<Range<Real>>,
    pub is_dead: bool,
    pub phase: Phase,
    pub phase_since: Real,
    steps: u32,
    dies_at: Option<u32>,
    death: Arc<Notify>,
    /// Until when something has been wrong with its requests.
    pub troubled: Real,
    /// The store's clock, as the last reply told it.
    pub reading: Option<(EpochMs, Moment)>,
    /// Requests of it that may still arrive.
    pub in_flight: u32,
    /// Whether a write of it came twice, or later than anybody looks for it, or a release failed.
    pub may_haunt: bool,
    /// Whether a write of it was never answered.
    pub has_unanswered: bool,
    /// Whether it ends what its pipeline has left standing.
    pub may_end_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Acquiring,
    Holding,
    Leaving,
    Over,
}

/// How a process goes on.
enum Pass {
    Goes,
    Until(Real),
    Never,
}

/// A process: it is the clock and the store of its client.
#[derive(Clone)]
pub struct Process {
    pub world: World,
    pub id: usize,
}

impl World {
    /// A new process of `host`; dead from the start if that is down.
    pub fn process(&self, name: String, host: usize, dies_at: Option<u32>) -> Process {
        let mut inner = self.look();
        let is_dead = self.scenario.hosts[host].dies.is_some_and(|at| at <= inner.now);
        let id = inner.processes.len();
        let state = State {
            name,
            host,
            token: None,
            stalls: Vec::new(),
            is_dead,
            phase: Phase::Acquiring,
            phase_since: inner.now,
            steps: 0,
            dies_at,
            death: Arc::default(),
            troubled: 0,
            reading: None,
            in_flight: 0,
            may_haunt: false,
            has_unanswered: false,
            may_end_all: false,
        };
        inner.processes.push(state);
        Process { world: self.clone(), id }
    }
}

impl Inner {
    pub fn kill(&mut self, id: usize) {
        if !self.processes[id].is_dead && self.processes[id].phase != Phase::Over {
            self.tell(id, || "is KILLED".into());
            let process = &mut self.processes[id];
            process.is_dead = true;
            process.death.notify_one();
            self.documents.excuse(self.now);
        }
    }

    /// Something is wrong with a process's requests, until then at least.
    pub fn trouble(&mut self, id: usize, until: Real) {
        let process = &mut self.processes[id];
        process.troubled = process.troubled.max(until);
        self.documents.excuse(until.min(self.now + LONGEST_STALL));
    }

    /// Since when all has been well with a process: its requests, its host, itself.
    pub fn well_since(&self, id: usize) -> Real {
        let (process, plan) = (&self.processes[id], self.plan(id));
        let begun = |window: &&Range<Real>| window.start <= self.now;
        let held_up = process.stalls.iter().chain(&plan.frozen).filter(begun).map(|window| window.end);
        let cut_off = plan.cut_off.iter().chain(&plan.refused).filter(begun);
        let troubled = cut_off.map(|window| window.end + RECOVERY);
        held_up.chain(troubled).fold(process.troubled, Real::max)
    }

    fn pass(&mut self, id: usize, is_first: bool) -> Pass {
        let now = self.now;
        if is_first && !self.processes[id].is_dead {
            let process = &mut self.processes[id];
            process.steps += 1;
            if Some(process.steps) == process.dies_at {
                self.kill(id);
            }
        }
        if self.processes[id].is_dead {
            return Pass::Never;
        }
        let windows = self.processes[id].stalls.iter().chain(&self.plan(id).frozen);
        match windows.filter(|window| window.contains(&now)).map(|window| window.end).max() {
            Some(end) => Pass::Until(end),
            None => Pass::Goes,
        }
    }

    /// Stops a process right here for a while, if the scenario wants that.
    fn stall(&mut self, id: usize) {
        let odds = if self.is_quiet() { 0 } else { self.scenario.network.stall };
        if self.rng.u32(0..1000) < odds {
            let span = if self.rng.bool() { self.rng.u64(100..4_000) } else { self.rng.u64(4_000..45_000) };
            let window = self.now..self.now + span;
            self.tell(id, || format!("stands still for {span} ms"));
            self.trouble(id, window.end);
            self.processes[id].stalls.push(window);
        }
    }
}

impl Process {
    /// Returns when the process may go on: never if it is dead.
    pub async fn gate(&self) {
        let mut is_first = true;
        loop {
            let pass = self.world.look().pass(self.id, is_first);
            is_first = false;
            match pass {
                Pass::Goes => return,
                Pass::Until(end) => self.world.until(end).await,
                Pass::Never => std::future::pending().await,
            }
        }
    }

    /// As [`Process::gate`], where a process may stop for long.
    pub async fn pause(&self) {
        self.world.look().stall(self.id);
        self.gate().await;
    }

    /// Returns when it is killed.
    pub async fn death(&self) {
        let death = self.world.look().processes[self.id].death.clone();
        if !self.is_dead() {
            death.notified().await;
        }
    }

    pub fn is_dead(&self) -> bool {
        self.world.look().processes[self.id].is_dead
    }

    pub fn client(&self) -> Client {
        Client::with_clock(Arc::new(self.clone()), Arc::new(self.clone()), None)
    }

    pub fn enter(&self, phase: Phase) {
        let mut inner = self.world.look();
        let now = inner.now;
        let state = &mut inner.processes[self.id];
        (state.phase, state.phase_since) = (phase, now);
    }

    /// From now on it acts for this request, on each of these locks.
    pub fn acts_for(&self, request: &Request) {
        let mut inner = self.world.look();
        inner.processes[self.id].token = Some(request.token);
        inner.documents.knows(request, self.id);
    }
}
