//! True time, the processes in it, and what is known of them: whether they get on, since when they are well.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use pipeline_lock::{
    Client,
    lock::{EpochMs, Moment, Request, Token},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    Real, Verdict,
    documents::Documents,
    flaws::Flaw,
    scenario::{HostPlan, Scenario},
    works::Works,
};

/// No sleep is longer.
const FAR: Real = 36_000_000;

/// After trouble with the store a process may pause so long until its next request, and wait for that.
const RECOVERY: Real = 9_000;

/// No process stands still for longer. Who was throttled looks less often for longer than that, and is waited for.
const LONGEST_STALL: Real = 45_000;

/// One simulated run. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub scenario: Arc<Scenario>,
    inner: Arc<Mutex<Inner>>,
    begin: Instant,
    /// Told when something is broken.
    pub alarm: Arc<Notify>,
}

/// All that changes.
pub struct Inner {
    pub scenario: Arc<Scenario>,
    pub now: Real,
    pub rng: Rng,
    pub flaw: Option<Flaw>,
    pub processes: Vec<State>,
    pub documents: Documents,
    pub works: Works,
    pub trace: Option<Vec<String>>,
    pub broken: Option<String>,
    pub requests: u64,
}

/// One process of a host.
pub struct State {
    pub name: String,
    pub host: usize,
    pub token: Option<Token>,
    pub stalls: Vec<Range<Real>>,
    pub is_dead: bool,
    pub phase: Phase,
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
    pub fn new(scenario: Scenario, seed: u64, traced: bool, flaw: Option<Flaw>) -> Self {
        let scenario = Arc::new(scenario);
        let inner = Inner {
            scenario: scenario.clone(),
            now: 0,
            rng: Rng::with_seed(seed ^ 0x5eed),
            flaw,
            processes: Vec::new(),
            documents: Documents::new(scenario.locks),
            works: Works::default(),
            trace: traced.then(Vec::new),
            broken: None,
            requests: 0,
        };
        let inner = Arc::new(Mutex::new(inner));
        Self { scenario, inner, begin: Instant::now(), alarm: Arc::default() }
    }

    /// Everything, at the present time. Never kept over an await.
    pub fn look(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().expect("nobody panics with it");
        inner.now = u64::try_from(self.begin.elapsed().as_millis()).expect("a short run");
        inner
    }

    pub fn now(&self) -> Real {
        self.look().now
    }

    pub async fn until(&self, real: Real) {
        if real > self.now() {
            sleep_until(self.begin + Duration::from_millis(real.min(FAR))).await;
        }
    }

    pub async fn wait(&self, span: Real) {
        self.until(self.now() + span).await;
    }

    pub fn moment(&self, process: usize) -> Moment {
        let inner = self.look();
        inner.plan(process).clock.moment(inner.now)
    }

    pub fn wall(&self, process: usize) -> EpochMs {
        let inner = self.look();
        inner.plan(process).clock.wall(inner.now)
    }

    pub fn real(&self, process: usize, moment: Moment) -> Real {
        self.look().plan(process).clock.real(moment)
    }

    /// A new process of `host`; dead from the start if that is down.
    pub fn process(&self, name: String, host: usize, dies_at: Option<u32>) -> Process {
        let mut inner = self.look();
        let is_dead = self.scenario.hosts[host].dies.is_some_and(|at| at <= inner.now);
        let id = inner.processes.len();
        inner.processes.push(State {
            name,
            host,
            token: None,
            stalls: Vec::new(),
            is_dead,
            phase: Phase::Acquiring,
            steps: 0,
            dies_at,
            death: Arc::default(),
            troubled: 0,
            reading: None,
            in_flight: 0,
            may_haunt: false,
            has_unanswered: false,
            may_end_all: false,
        });
        Process { world: self.clone(), id }
    }

    /// Takes in what a check says, and stops the run if it is bad.
    pub fn must(&self, verdict: Verdict) {
        self.look().must(verdict);
        self.ring_if_broken();
    }

    pub fn ring_if_broken(&self) {
        if self.look().broken.is_some() {
            self.alarm.notify_one();
        }
    }

    pub fn tell(&self, process: usize, what: impl FnOnce() -> String) {
        self.look().tell(process, what);
    }

    /// A host goes down: its processes are dead, its work has ended, at once.
    pub fn host_dies(&self, host: usize) {
        let mut inner = self.look();
        for id in 0..inner.processes.len() {
            if inner.processes[id].host == host {
                inner.kill(id);
            }
        }
        let now = inner.now;
        inner.works.host_dies(host, now);
    }
}

impl Inner {
    pub fn plan(&self, process: usize) -> &HostPlan {
        &self.scenario.hosts[self.processes[process].host]
    }

    pub fn must(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict
            && self.broken.is_none()
        {
            self.broken = Some(format!("at {} ms: {broken}", self.now));
        }
    }

    pub fn tell(&mut self, process: usize, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (now, state) = (self.now, &self.processes[process]);
            let line = format!("{:>9.3} h{} {:<10} {}", now as f64 / 1000.0, state.host, state.name, what());
            trace.push(line);
        }
    }

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

    pub fn is_quiet(&self) -> bool {
        self.now >= crate::scenario::QUIET
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
        self.world.look().processes[self.id].phase = phase;
    }

    /// From now on it acts for this request, on each of these locks.
    pub fn acts_for(&self, request: &Request) {
        let mut inner = self.world.look();
        inner.processes[self.id].token = Some(request.token);
        inner.documents.knows(request, self.id);
    }
}
