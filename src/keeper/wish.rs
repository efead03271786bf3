//! One lock that a job wants, and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    client::Parting,
    config::{OnTimeout, Scope, WantedLock},
    lock::{Limit, Line, LockName, Mode, Order, Owner},
};

/// One lock that a job wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockWish {
    /// The lock.
    pub name: LockName,
    /// How long it is waited for; zero: take it or fail.
    pub wait: Duration,
    /// What becomes of the job when it has waited so long.
    pub on_timeout: OnTimeout,
    /// How the hold gets on with others.
    pub mode: Mode,
    /// How many holders it admits, itself counted.
    pub limit: Limit,
    /// The names of the lock's slots, if they have any.
    pub resources: Vec<String>,
    /// Where the job stands among waiters of its priority.
    pub order: Order,
    /// Higher goes first.
    pub priority: i32,
    /// What the job deploys, if a newer pipeline is to make it obsolete.
    pub line: Option<Line>,
    /// How many may wait for the lock.
    pub max_queue: Option<u32>,
    /// The pipeline whose hold it is to be; `None`: the job's own.
    pub pipeline: Option<Owner>,
    /// How long the pipeline's hold stands without a job of it; `None`: it ends with this job.
    pub linger: Option<Duration>,
}

impl LockWish {
    /// The lock as the file's rules and the job's variables want it. `pipeline` is whose the hold is where they say
    /// so; with `release_after` it ends with the job.
    pub fn of(lock: &WantedLock, pipeline: Option<&Owner>, release_after: bool) -> Self {
        let pipeline = pipeline.filter(|_| lock.scope == Scope::Pipeline).cloned();
        Self {
            name: lock.name.clone(),
            wait: lock.wait,
            on_timeout: lock.on_timeout,
            mode: lock.mode,
            limit: lock.limit,
            resources: lock.resources.clone(),
            order: lock.order,
            priority: lock.priority,
            line: lock.line.clone(),
            max_queue: lock.max_queue,
            linger: pipeline.as_ref().filter(|_| !release_after).map(|_| lock.linger),
            pipeline,
        }
    }

    /// What is left standing when the job gives the lock back.
    pub(super) fn parting(&self) -> Parting {
        match (&self.pipeline, self.linger) {
            (None, _) => Parting::Alone,
            (Some(_), Some(linger)) if !linger.is_zero() => Parting::Linger(linger),
            (Some(_), _) => Parting::WithThePipeline,
        }
    }

    /// What people call the place that a hold in `slot` has; `None` where there is only one.
    pub fn place(&self, slot: u32) -> Option<String> {
        match self.resource(slot) {
            Some(name) => Some(name.to_owned()),
            None if self.limit == Limit(1) || self.mode == Mode::Shared => None,
            None => Some(format!("slot {slot}")),
        }
    }

    /// The name of the slot, if it has one.
    pub fn resource(&self, slot: u32) -> Option<&str> {
        self.resources.get(usize::try_from(slot).ok()?).map(String::as_str)
    }
}
