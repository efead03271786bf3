//! What happens in one run, made from its seed alone: hosts and their clocks, who wants which locks when, what
//! becomes of them.

use std::{ops::Range, time::Duration};

use fastrand::Rng;
use pipeline_lock::{
    client::Parting,
    lock::{Beat, EpochMs, Limit, Line, LockName, Mode, Order, Owner, Request, Term, Token, Who},
};
use uuid::Uuid;

use crate::{
    LEASE, Real,
    clock::HostClock,
    weather::{Network, Weather},
};

/// When the simulation begins, by the store's clock.
pub const START: u64 = 1_700_000_000_000;

/// From then on nothing goes wrong any more.
pub const QUIET: Real = 100_000;

pub struct Scenario {
    pub hosts: Vec<HostPlan>,
    pub jobs: Vec<Job>,
    pub network: Network,
    pub locks: usize,
    /// When an operator asks whoever holds which lock to end.
    pub revocations: Vec<(Real, usize)>,
}

pub struct HostPlan {
    pub clock: HostClock,
    /// When nothing of it runs, its jobs' work included.
    pub frozen: Vec<Range<Real>>,
    /// When it can't reach the store.
    pub cut_off: Vec<Range<Real>>,
    /// When the store refuses it.
    pub refused: Vec<Range<Real>>,
    /// When it goes down for good.
    pub dies: Option<Real>,
}

#[derive(Clone)]
pub struct Job {
    pub number: usize,
    pub start: Real,
    pub host: usize,
    pub wants: Vec<usize>,
    pub kind: Kind,
    pub pipeline: Option<u64>,
    pub priority: i32,
    pub order: Order,
    pub line: Option<(u64, u64)>,
    pub max_queue: Option<u32>,
    pub parting: Parting,
    pub wait: Duration,
    pub work: Real,
    pub stalls: Vec<Range<Real>>,
    pub fate: Fate,
    /// Another try of the same job, on another host or after the death of this one.
    pub retry: Option<Retry>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Exclusive,
    Counted(u32),
    Shared,
    /// A hold that nobody watches over, for so long.
    Static(Real),
}

#[derive(Clone, Copy)]
pub enum Fate {
    Well,
    /// It is told to leave so long after its start.
    Cancelled(Real),
    /// Its keeper is killed: so long after its start, or at its so-many-th step.
    Killed {
        after: Real,
        cleanup: bool,
    },
    KilledAtStep {
        step: u32,
        cleanup: bool,
    },
}

#[derive(Clone, Copy)]
pub struct Retry {
    pub after: Real,
    pub host: usize,
}

pub fn lock(number: usize) -> LockName {
    LockName::new(format!("lock-{number}")).expect("a good name")
}

impl Job {
    /// Whether nothing goes wrong with it.
    pub fn is_calm(&self) -> bool {
        matches!(self.fate, Fate::Well | Fate::Cancelled(_)) && self.stalls.is_empty() && self.retry.is_none()
    }

    pub fn request(&self, tries: usize, replaces: Option<Token>) -> Request {
        let (mode, limit) = match self.kind {
            Kind::Exclusive | Kind::Static(_) => (Mode::Exclusive, Limit(1)),
            Kind::Counted(n) => (Mode::Exclusive, Limit(n)),
            Kind::Shared => (Mode::Shared, Mode::Shared.default_limit()),
        };
        Request {
            owner: match self.pipeline {
                Some(id) => Owner::pipeline("gitlab", 1, id),
                None => Owner::job("gitlab", self.number as u64),
            },
            token: Token::new(Uuid::from_u128((self.number * 100 + tries + 1) as u128)),
            replaces,
            mode,
            limit,
            priority: self.priority,
            order: self.order,
            line: self.line.map(|(key, pipeline)| Line::new(&key.to_string(), pipeline)),
            max_queue: self.max_queue,
            term: Term::Live { beat: Beat(0), lease: Some(LEASE) },
            who: Who::default(),
            since: EpochMs(0),
            force_after: None,
        }
    }
}

/// One in `n`.
pub fn one_in(rng: &mut Rng, n: u32) -> bool {
    rng.u32(0..n) == 0
}

fn some_windows(rng: &mut Rng, odds: u32, longest: Real) -> Vec<Range<Real>> {
    if !one_in(rng, odds) {
        return Vec::new();
    }
    (0..rng.usize(1..3))
        .map(|_| {
            let begin = rng.u64(0..QUIET - longest);
            begin..begin + rng.u64(200..longest)
        })
        .collect()
}

pub fn from_seed(seed: u64) -> Scenario {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let weather = Weather::some(rng);
    let locks = if one_in(rng, 3) { rng.usize(2..4) } else { 1 };
    let base = rng.u64(950..=1000);
    let hosts: Vec<HostPlan> = (0..rng.usize(1..5)).map(|_| host(rng, weather, base)).collect();
    let mixture = rng.u32(0..10);
    let lines = one_in(rng, 4);
    let jobs = (0..rng.usize(2..10))
        .map(|number| job(rng, number, weather, locks, hosts.len(), mixture, lines))
        .collect();
    let revocations = if weather != Weather::Calm && one_in(rng, 4) {
        vec![(rng.u64(0..60_000), rng.usize(0..locks))]
    } else {
        Vec::new()
    };
    Scenario { network: Network::some(rng, weather), hosts, jobs, locks, revocations }
}

fn host(rng: &mut Rng, weather: Weather, base: u64) -> HostPlan {
    let jumps = (0..rng.usize(0..3)).map(|_| (rng.u64(0..QUIET), rng.i64(-90_000..90_000))).collect();
    let clock = HostClock {
        // The fastest one is 5 % faster than the slowest one at most.
        rate: base + if one_in(rng, 3) { base / 20 } else { rng.u64(0..=base / 20) },
        origin: Duration::from_millis(rng.u64(1000..10_000_000)),
        wall_offset: rng.i64(-100_000..100_000),
        jumps,
    };
    let (lossy, deadly) = (weather.is_lossy(), weather.is_deadly());
    HostPlan {
        clock,
        frozen: if deadly { some_windows(rng, 4, 45_000) } else { Vec::new() },
        cut_off: if lossy { some_windows(rng, 3, 40_000) } else { Vec::new() },
        refused: if lossy { some_windows(rng, 8, 20_000) } else { Vec::new() },
        dies: (deadly && one_in(rng, 6)).then(|| rng.u64(0..90_000)),
    }
}

fn job(
    rng: &mut Rng,
    number: usize,
    weather: Weather,
    locks: usize,
    hosts: usize,
    mixture: u32,
    lines: bool,
) -> Job {
    let deadly = weather.is_deadly();
    let mut wants: Vec<usize> = (0..locks).filter(|_| one_in(rng, 2)).collect();
    if wants.is_empty() {
        wants.push(rng.usize(0..locks));
    }
    if one_in(rng, 2) {
        wants.reverse();
    }
    let kind = match mixture {
        0..5 => Kind::Exclusive,
        5 => Kind::Counted(2),
        6 => Kind::Counted(rng.u32(2..4)),
        7 if one_in(rng, 2) => Kind::Shared,
        7 if one_in(rng, 2) => Kind::Counted(3),
        8 if one_in(rng, 4) && wants.len() == 1 => Kind::Static(rng.u64(2_000..30_000)),
        _ => Kind::Exclusive,
    };
    let is_static = matches!(kind, Kind::Static(_));
    let pipeline = (mixture >= 8 && !is_static && one_in(rng, 2)).then(|| rng.u64(1..3));
    let line = (lines && one_in(rng, 2)).then(|| (rng.u64(1..3), rng.u64(1..5)));
    let work = if one_in(rng, 3) { rng.u64(15_000..60_000) } else { rng.u64(0..6_000) };
    Job {
        number,
        start: if one_in(rng, 2) { rng.u64(0..2_000) } else { rng.u64(0..50_000) },
        host: rng.usize(0..hosts),
        wants,
        kind,
        pipeline,
        priority: if one_in(rng, 6) { rng.i32(-2..3) } else { 0 },
        order: if one_in(rng, 10) { Order::Newest } else { Order::First },
        line,
        max_queue: one_in(rng, 6).then(|| rng.u32(0..4)),
        parting: match pipeline {
            Some(_) if one_in(rng, 2) => Parting::Linger(Duration::from_millis(rng.u64(1_000..30_000))),
            Some(_) if one_in(rng, 3) => Parting::WithThePipeline,
            _ => Parting::Alone,
        },
        wait: match rng.u32(0..10) {
            0 => Duration::ZERO,
            1 | 2 => Duration::from_millis(rng.u64(500..60_000)),
            _ => Duration::from_secs(3000),
        },
        work,
        stalls: if deadly { some_windows(rng, 4, 45_000) } else { Vec::new() },
        fate: if is_static { Fate::Well } else { fate(rng, deadly) },
        retry: (deadly && !is_static && one_in(rng, 3))
            .then(|| Retry { after: rng.u64(100..40_000), host: rng.usize(0..hosts) }),
    }
}

fn fate(rng: &mut Rng, deadly: bool) -> Fate {
    match rng.u32(0..12) {
        0 => Fate::Cancelled(rng.u64(0..40_000)),
        1 | 2 if deadly => Fate::Killed { after: rng.u64(0..60_000), cleanup: rng.bool() },
        3 | 4 if deadly => Fate::KilledAtStep { step: rng.u32(1..40), cleanup: rng.bool() },
        _ => Fate::Well,
    }
}
