//! One try of one job: the process of its keeper, over the real client.

use std::{sync::Arc, time::Duration};

use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Clock, Hold, HoldStatus, HoldWatcher, Loss, Several, Wish},
    lock::{EpochMs, Moment, Request, Term, Token},
    store::Store,
};
use tokio::task::JoinSet;

use crate::{
    GRACE, LEASE, Real,
    audit::Claim,
    op::number,
    process::{Phase, Process},
    scenario::{Fate, Job, Kind, START, lock},
    switch::Handle,
    works::{self, Part},
};

/// How long a keeper goes on trying to give its locks back.
const STUBBORN_FOR: Duration = Duration::from_secs(600);

/// One try.
pub struct Keeper {
    pub job: Arc<Job>,
    pub process: Process,
    pub client: Client,
    pub request: Request,
}

impl Keeper {
    pub fn token(&self) -> Token {
        self.request.token
    }

    pub fn tell(&self, what: impl FnOnce() -> String) {
        self.process.world.tell(self.process.id, what);
    }

    /// Asks, works, and gives back.
    pub async fn run(mut self) {
        if let Kind::Static(ttl) = self.job.kind {
            self.knows_the_time(ttl).await;
        }
        self.process.acts_for(&self.request);
        let began = Clock::now(&self.process);
        let got = match self.job.fate {
            Fate::Cancelled(after) => {
                let until = began.plus(Duration::from_millis(after));
                tokio::select! {
                    biased;
                    got = self.acquire() => Some(got),
                    () = Clock::sleep_until(&self.process, until) => None,
                }
            }
            _ => Some(self.acquire().await),
        };
        match got {
            None => {
                self.tell(|| "is told to leave".into());
                self.leave(Vec::new(), true).await;
            }
            Some(Several { holds, failure: Some(failure) }) => {
                self.tell(|| format!("does not get it: {failure}"));
                let waited = Clock::now(&self.process).since(began);
                self.process.world.must(self.is_fair(&failure, waited));
                let withdraws = self.job.wants.len() > 1 || matches!(failure, AcquireError::Store { .. });
                self.leave(holds, withdraws).await;
            }
            Some(Several { holds, failure: None }) => self.hold(holds).await,
        }
        let parted = self.process.world.now();
        self.take_back_late().await;
        self.process.enter(Phase::Over);
        self.nothing_is_left(parted);
        self.tell(|| "is over".into());
    }

    /// A static hold ends by the store's clock, which a first reply tells.
    async fn knows_the_time(&mut self, ttl: Real) {
        let _ = self.client.look(&lock(self.job.wants[0])).await;
        let until = Store::now(&self.process).plus(Duration::from_millis(ttl));
        self.request.term = Term::Static { until: Some(until) };
    }

    async fn acquire(&self) -> Several {
        let options =
            AcquireOptions { wait: self.job.wait, parting: self.job.parting, ..AcquireOptions::default() };
        let wish = |number: &usize| Wish {
            name: lock(*number),
            request: self.request.clone(),
            options: options.clone(),
        };
        let wishes: Vec<Wish> = self.job.wants.iter().map(wish).collect();
        if let [wish] = &wishes[..] {
            let (name, request) = (&wish.name, wish.request.clone());
            return match self.client.acquire(name, request, options, |_| {}).await {
                Ok(hold) => Several { holds: vec![hold], failure: None },
                Err(failure) => Several { holds: Vec::new(), failure: Some(failure) },
            };
        }
        self.client.acquire_all(wishes, |_| {}).await
    }

    /// Gives back what it has.
    async fn leave(&self, holds: Vec<Hold>, withdraws: bool) {
        self.process.enter(Phase::Leaving);
        let held: Vec<usize> = holds.iter().map(|hold| number(hold.name())).collect();
        for hold in holds {
            let deadline = hold.deadline();
            self.notes(hold.release().await, deadline);
        }
        if withdraws {
            for number in self.job.wants.iter().filter(|number| !held.contains(number)) {
                self.notes(self.client.withdraw(&lock(*number), self.token()).await, None);
            }
        }
    }

    async fn take_back_late(&self) {
        for number in &self.job.wants {
            self.client.take_back_late(&lock(*number), self.token(), LEASE).await;
        }
    }

    /// Works under its holds, and gives them back when nothing of the work lives any more.
    async fn hold(&self, holds: Vec<Hold>) {
        self.process.enter(Phase::Holding);
        self.process.pause().await;
        let parts = holds.iter().map(|hold| self.part(hold)).collect();
        let deadlines = holds.iter().map(Hold::deadline).collect();
        let work = Handle::begin(&self.process, parts, deadlines, self.job.work);
        let mut lost = JoinSet::new();
        let mut proofs = JoinSet::new();
        for (number, hold) in holds.iter().enumerate() {
            lost.spawn(self.watch(hold.watcher(), hold.deadline().is_some()));
            proofs.spawn(prove(work.clone(), number, hold.watch()));
        }
        let static_ones = holds.iter().all(|hold| hold.deadline().is_none());
        tokio::select! {
            biased;
            () = work.over() => {}
            loss = lost.join_next(), if !static_ones => {
                let loss = loss.and_then(Result::ok);
                self.tell(|| format!("must end: {loss:?}"));
                self.process.world.must(self.is_lost_fairly(&loss, &holds));
                work.term();
                work.over().await;
            }
        }
        self.process.gate().await;
        self.process.enter(Phase::Leaving);
        self.give_back(holds).await;
    }

    fn watch(&self, watcher: HoldWatcher, is_live: bool) -> impl Future<Output = Loss> + use<> {
        async move { if is_live { watcher.lost(GRACE).await } else { std::future::pending().await } }
    }

    fn part(&self, hold: &Hold) -> Part {
        let lock = number(hold.name());
        let claim = Claim {
            owner: self.request.owner.clone(),
            token: self.token(),
            mode: self.request.mode,
            limit: self.request.limit.0.max(1),
        };
        // Its time counts from the grant: what was granted is in the document.
        let until = match hold.known().holder(hold.token()).map(|held| held.term) {
            Some(Term::Static { until }) => until.map(|EpochMs(ms)| ms),
            Some(Term::Live { .. }) | None => None,
        };
        Part { lock, name: works::name(&claim), claim, fence: hold.fence(), slot: hold.slot(), until }
    }

    /// As a keeper does it: each lock for itself, whatever the store says.
    async fn give_back(&self, holds: Vec<Hold>) {
        if self.job.number.is_multiple_of(2) {
            for hold in holds {
                let deadline = hold.deadline();
                self.notes(hold.release().await, deadline);
            }
            return;
        }
        let until = Clock::now(&self.process).plus(STUBBORN_FOR);
        let mut under_way = JoinSet::new();
        for hold in holds {
            let parting = hold.parting();
            let ((name, token, known), client) = (hold.let_go(), self.client.clone());
            under_way.spawn(async move {
                client.withdraw_until(&name, token, Some(known), parting, until, |_| {}).await
            });
        }
        while let Some(given) = under_way.join_next().await {
            self.notes(given.expect("it does not panic"), None);
        }
    }
}

/// Writes down until when a hold is proven, on each change.
async fn prove(work: Handle, number: usize, mut status: tokio::sync::watch::Receiver<HoldStatus>) {
    loop {
        let deadline: Option<Moment> = status.borrow_and_update().deadline();
        work.prove(number, deadline);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// A job, as the trace tells of it.
pub fn shown(job: &Job) -> String {
    let kind = match job.kind {
        Kind::Exclusive => "exclusive".to_owned(),
        Kind::Counted(n) => format!("one of {n}"),
        Kind::Shared => "shared".into(),
        Kind::Static(ttl) => format!("static for {ttl} ms"),
    };
    let pipeline = job.pipeline.map(|id| format!(", pipeline {id} ({:?})", job.parting)).unwrap_or_default();
    format!(
        "job {} on h{}: {kind}{pipeline} of {:?}, works {} ms, waits {:?}, store time {}",
        job.number, job.host, job.wants, job.work, job.wait, START
    )
}
