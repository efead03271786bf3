//! True time, and all that is in it.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use pipeline_lock::lock::{EpochMs, Moment};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    Real, Verdict,
    documents::Documents,
    flaws::Flaw,
    process::State,
    scenario::{HostPlan, Scenario},
    works::Works,
};

/// No sleep is longer.
const FAR: Real = 36_000_000;

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

    pub fn is_quiet(&self) -> bool {
        self.now >= crate::scenario::QUIET
    }
}
