//! One run from its beginning to its end.

use std::{pin::Pin, sync::Arc};

use pipeline_lock::{
    client::{AcquireOptions, Parting},
    lock::{Beat, Owner, Request, Term, Token},
};
use tokio::task::JoinSet;

use crate::{
    LEASE, Real,
    flaws::Flaw,
    job::{self, Keeper},
    process::{Phase, Process},
    progress::Progress,
    scenario::{self, Fate, Job, QUIET, lock},
    switch,
    world::World,
};

/// By then all is over, or something is stuck.
const HORIZON: Real = 3_590_000;

/// A hold that is kept for a pipeline, or that nobody watches over, may stand for so long.
const LINGER: Real = 33_000;

/// What a run came to.
pub struct Outcome {
    pub broken: Option<String>,
    pub trace: Vec<String>,
    pub requests: u64,
    pub lasted: Real,
    pub longest_idle: Real,
}

/// Runs a seed.
pub fn run(seed: u64, traced: bool, flaw: Option<Flaw>) -> Outcome {
    // What the client draws for its jitter comes from this thread's generator.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new(scenario::from_seed(seed), seed, traced, flaw);
        if traced {
            introduce(&world);
        }
        let alarm = world.alarm.clone();
        tokio::select! {
            biased;
            () = alarm.notified() => {}
            () = play(&world) => {}
            () = world.until(HORIZON) => stuck(&world),
        }
        let mut inner = world.look();
        let locks = 0..world.scenario.locks;
        Outcome {
            broken: inner.broken.take(),
            trace: inner.trace.take().unwrap_or_default(),
            requests: inner.requests,
            lasted: inner.now,
            longest_idle: locks.map(|n| inner.documents.lock(n).progress.longest).max().unwrap_or(0),
        }
    })
}

fn introduce(world: &World) {
    let operator = world.process("scenario".into(), 0, None);
    for job in &world.scenario.jobs {
        world.tell(operator.id, || job::shown(job));
    }
    operator.enter(Phase::Over);
}

fn stuck(world: &World) {
    let mut inner = world.look();
    let open: Vec<String> = inner
        .processes
        .iter()
        .filter(|p| !p.is_dead && p.phase != Phase::Over)
        .map(|p| format!("{} is {:?}", p.name, p.phase))
        .collect();
    inner.must(Err(format!("stuck: {}", open.join(", "))));
}

async fn play(world: &World) {
    let mut jobs = JoinSet::new();
    for job in &world.scenario.jobs {
        jobs.spawn(a_try(world.clone(), Arc::new(job.clone()), 0, job.host, job.start, None));
    }
    for (host, plan) in world.scenario.hosts.iter().enumerate() {
        if let Some(at) = plan.dies {
            let world = world.clone();
            tokio::spawn(async move {
                world.until(at).await;
                world.host_dies(host);
            });
        }
        for window in plan.frozen.clone() {
            tokio::spawn(thaw(world.clone(), window.end));
        }
    }
    for (at, number) in world.scenario.revocations.clone() {
        jobs.spawn(revoke(world.clone(), at, number));
    }
    tokio::spawn(look_now_and_then(world.clone()));
    while let Some(done) = jobs.join_next().await {
        if let Err(error) = done {
            world.must(Err(format!("a job panicked: {error}")));
        }
    }
    world.until(QUIET).await;
    for number in 0..world.scenario.locks {
        somebody_new(world, number).await;
    }
}

/// When a host goes on, its work does too, unless it is to be over.
async fn thaw(world: World, at: Real) {
    world.until(at).await;
    let verdict = world.look().check_runs();
    world.must(verdict);
}

async fn look_now_and_then(world: World) {
    loop {
        world.wait(1_000).await;
        let mut inner = world.look();
        for number in 0..world.scenario.locks {
            inner.check_progress(number);
        }
        drop(inner);
        world.ring_if_broken();
    }
}

/// An operator asks whoever holds a lock to end.
async fn revoke(world: World, at: Real, number: usize) {
    world.until(at).await;
    let operator = world.process("operator".into(), 0, None);
    let client = operator.client();
    let asking = async {
        if let Ok(Some(state)) = client.look(&lock(number)).await
            && let Some(holder) = state.holders.first()
        {
            let _ = client.revoke(&lock(number), holder.token, "operator").await;
        }
    };
    tokio::select! {
        biased;
        () = asking => {}
        () = operator.death() => return,
    }
    operator.enter(Phase::Over);
}

/// One try of a job, and whatever comes after its death.
fn a_try(
    world: World,
    job: Arc<Job>,
    tries: usize,
    host: usize,
    start: Real,
    replaces: Option<Token>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        world.until(start).await;
        let is_first = tries == 0;
        let dies_at = match job.fate {
            Fate::KilledAtStep { step, .. } if is_first => Some(step),
            _ => None,
        };
        let process = world.process(format!("job {}.{tries}", job.number), host, dies_at);
        if process.is_dead() {
            return;
        }
        {
            let mut inner = world.look();
            let state = &mut inner.processes[process.id];
            state.stalls = if is_first { job.stalls.clone() } else { Vec::new() };
            state.may_end_all = job.parting == Parting::WithThePipeline;
        }
        let request = job.request(tries, replaces);
        let token = request.token;
        let mut job_now = (*job).clone();
        if !is_first {
            job_now.fate = Fate::Well;
        }
        let keeper =
            Keeper { job: Arc::new(job_now), client: process.client(), process: process.clone(), request };
        let retry = job.retry.filter(|_| is_first).map(|retry| {
            tokio::spawn(try_again(world.clone(), job.clone(), process.clone(), token, start + retry.after))
        });
        let mut running = tokio::spawn(keeper.run());
        if let (true, Fate::Killed { after, .. }) = (is_first, job.fate) {
            let (world, id) = (world.clone(), process.id);
            tokio::spawn(async move {
                world.until(start + after).await;
                world.look().kill(id);
            });
        }
        tokio::select! {
            biased;
            done = &mut running => world.must(done.map_err(|error| format!("a keeper panicked: {error}"))),
            () = process.death() => {
                running.abort();
                let _ = running.await;
                let cleans = is_first && matches!(job.fate, Fate::Killed { cleanup: true, .. } | Fate::KilledAtStep { cleanup: true, .. });
                clean_up(&world, &job, &process, token, cleans).await;
            }
        }
        if let Some(retry) = retry
            && let Err(error) = retry.await
        {
            world.must(Err(format!("a retry panicked: {error}")));
        }
    })
}

/// The second try of a job whose first one is not over by then. On the first one's host it begins with the end of
/// what a dead one has left.
async fn try_again(world: World, job: Arc<Job>, first: Process, token: Token, at: Real) {
    let Some(retry) = job.retry else { return };
    world.until(at).await;
    if world.look().processes[first.id].phase == Phase::Over {
        return;
    }
    let follows = first.is_dead() && retry.host == world.look().processes[first.id].host;
    if let Some(work) = switch::of(&first).filter(|_| follows) {
        work.over().await;
    }
    let now = world.now();
    a_try(world, job, 1, retry.host, now, follows.then_some(token)).await;
}

/// What the host does when a keeper is dead: its work is killed, and perhaps its locks are given back.
async fn clean_up(world: &World, job: &Job, keeper: &Process, token: Token, gives_back: bool) {
    let host = world.look().processes[keeper.id].host;
    if let Some(work) = switch::of(keeper) {
        work.abandon();
        work.over().await;
    }
    if !gives_back {
        return;
    }
    let cleaner = world.process(format!("cleanup {}", job.number), host, None);
    if cleaner.is_dead() {
        return;
    }
    {
        let mut inner = world.look();
        let state = &mut inner.processes[cleaner.id];
        (state.token, state.may_end_all, state.may_haunt) = (Some(token), true, true);
    }
    let client = cleaner.client();
    let giving_back = async {
        for number in &job.wants {
            let _ = client.withdraw(&lock(*number), token).await;
        }
    };
    tokio::select! {
        biased;
        () = giving_back => cleaner.enter(Phase::Over),
        () = cleaner.death() => {}
    }
}

/// After all that somebody new gets the lock in time.
async fn somebody_new(world: &World, number: usize) {
    let host = world.scenario.hosts.iter().position(|host| host.dies.is_none()).unwrap_or(0);
    if world.scenario.hosts[host].dies.is_some() {
        return;
    }
    let process = world.process("newcomer".into(), host, None);
    let token = Token::new(uuid::Uuid::from_u128(1_000_001 + number as u128 * 100));
    let term = Term::Live { beat: Beat(0), lease: Some(LEASE) };
    let request = Request::new(Owner::alone(token), token, term);
    process.acts_for(&request);
    let began = world.now();
    let wait = std::time::Duration::from_secs(600);
    let client = process.client();
    let got = client.acquire(&lock(number), request, AcquireOptions::waiting(wait), |_| {}).await;
    let places = {
        let inner = world.look();
        inner.documents.lock(number).current().map_or(0, |state| state.queue.len() as Real)
    };
    let (lasted, longest) = (world.now() - began, Progress::longest(places + 1) + LINGER);
    match got {
        Ok(_) if lasted > longest => {
            world.must(Err(format!("a newcomer waited {lasted} ms for lock-{number}")))
        }
        Ok(hold) => world.must(hold.release().await.map(drop).map_err(|error| error.to_string())),
        Err(error) => world.must(Err(format!("a newcomer did not get it: {error}"))),
    }
    process.enter(Phase::Over);
}
