//! What happens in one run: who wants the lock when, what becomes of them, and what the network does.

use pipeline_lock::lock::{Beat, EpochMs, Limit, Line, Mode, Order, Owner, Request, Term, Token, Who};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{LEASE, Real};

/// When the simulation begins, by the store's clock.
pub const START: u64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub jobs: Vec<Job>,
    pub faults: Vec<Fault>,
    /// When an operator asks whoever holds to end.
    pub revocations: Vec<Real>,
    /// When an operator reserves the lock, and for how long.
    pub reservations: Vec<(Real, Real)>,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub start: Real,
    pub kind: Kind,
    pub priority: i32,
    pub order: Order,
    /// Its line, and its pipeline's number there.
    pub line: Option<(u64, u64)>,
    /// How long its pipeline's hold stands for the next job.
    pub linger: Option<Real>,
    /// How many may wait, itself counted.
    pub max_queue: Option<u32>,
    /// The pipeline that it is a member of, if its hold is a pipeline's.
    pub pipeline: Option<u64>,
    pub host: usize,
    pub clock: Clock,
    /// How long it works once it holds.
    pub work: Real,
    pub may_wait: bool,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Exclusive,
    Counted(u32),
    Shared,
    /// An exclusive hold that nobody watches over, for so long.
    Static(Real),
}

/// A clock that runs up to 5 % fast, and a wall clock that is off.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub rate_permille: u64,
    pub wall_offset: i64,
}

#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Well,
    /// It gives up if it has not got the lock after so long.
    Leaves(Real),
    /// Its keeper dies so long after the start.
    Crashes {
        after: Real,
        /// Whether its processes die with it, and the host knows.
        cleanly: bool,
        retry: Option<Retry>,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub delay: Real,
    pub same_host: bool,
    /// Whether it asks for an exclusive hold, whatever the first try asked for.
    pub turns_exclusive: bool,
}

/// What the network does to one request and its reply.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub out: Leg,
    pub back: Leg,
    /// How many versions old an eventually consistent read is.
    pub stale: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Leg {
    Takes(Real),
    Lost,
}

impl Fault {
    pub const NONE: Self = Self { out: Leg::Takes(5), back: Leg::Takes(5), stale: 0 };
}

impl Job {
    /// Its request, by its `number` and how many tries there were before this one.
    pub fn request(&self, number: usize, tries: usize, replaces: Option<Token>) -> Request {
        let (mode, limit) = match self.kind {
            Kind::Exclusive | Kind::Static(_) => (Mode::Exclusive, Limit(1)),
            Kind::Counted(n) => (Mode::Exclusive, Limit(n)),
            Kind::Shared => (Mode::Shared, Mode::Shared.default_limit()),
        };
        Request {
            owner: match self.pipeline {
                Some(id) => Owner::pipeline("gitlab", 1, id),
                None => Owner::job("gitlab", number as u64),
            },
            token: Token::new(Uuid::from_u128((number * 100 + tries + 1) as u128)),
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

fn leg() -> impl Strategy<Value = Leg> {
    prop_oneof![
        6 => (1..50u64).prop_map(Leg::Takes),
        2 => (50..3000u64).prop_map(Leg::Takes),
        1 => (3000..45_000u64).prop_map(Leg::Takes),
        2 => Just(Leg::Lost),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let quick = || (1..50u64).prop_map(Leg::Takes);
    let stale = prop_oneof![3 => Just(0usize), 1 => 1..4usize];
    prop_oneof![
        3 => (quick(), quick(), stale.clone()).prop_map(|(out, back, stale)| Fault { out, back, stale }),
        2 => (leg(), leg(), stale).prop_map(|(out, back, stale)| Fault { out, back, stale }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Exclusive),
        2 => (2..4u32).prop_map(Kind::Counted),
        3 => Just(Kind::Shared),
        1 => (1000..30_000u64).prop_map(Kind::Static),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    let retry = (3000..40_000u64, proptest::bool::ANY, prop::bool::weighted(0.1))
        .prop_map(|(delay, same_host, turns_exclusive)| Retry { delay, same_host, turns_exclusive });
    let crash = (0..60_000u64, proptest::bool::ANY, proptest::option::of(retry));
    prop_oneof![
        5 => Just(Fate::Well),
        1 => (0..60_000u64).prop_map(Fate::Leaves),
        4 => crash.prop_map(|(after, cleanly, retry)| Fate::Crashes { after, cleanly, retry }),
    ]
}

pub fn job() -> impl Strategy<Value = Job> {
    let clock = (1000..=1050u64, -100_000..100_000i64)
        .prop_map(|(rate_permille, wall_offset)| Clock { rate_permille, wall_offset });
    let priority = prop_oneof![5 => Just(0), 2 => -2..=2i32];
    let order = prop_oneof![5 => Just(Order::First), 1 => Just(Order::Newest)];
    let pipeline = prop_oneof![4 => Just(None), 1 => (1..=2u64).prop_map(Some)];
    let line = prop_oneof![3 => Just(None), 1 => (1..=2u64, 1..=4u64).prop_map(Some)];
    let max_queue = prop_oneof![5 => Just(None), 1 => (0..3u32).prop_map(Some)];
    let linger = prop_oneof![1 => Just(None), 2 => (1000..40_000u64).prop_map(Some)];
    let times = (0..30_000u64, 0..25_000u64);
    (
        times,
        kind(),
        (priority, order, line, max_queue),
        (pipeline, linger),
        0..3usize,
        clock,
        prop::bool::weighted(0.95),
        fate(),
    )
        .prop_map(
            |(
                (start, work),
                kind,
                (priority, order, line, max_queue),
                (pipeline, linger),
                host,
                clock,
                may_wait,
                fate,
            )| {
                Job {
                    start,
                    kind,
                    priority,
                    order,
                    line,
                    max_queue,
                    pipeline,
                    linger,
                    host,
                    clock,
                    work,
                    may_wait,
                    fate,
                }
            },
        )
}

/// An operator's reservation; each has another number.
pub fn reservation(number: u64, until: Real) -> Request {
    let until = Some(EpochMs(START + until));
    let token = Token::new(Uuid::from_u128(u128::from(9_000_000 + number)));
    Request::new(Owner::reservation("operator"), token, Term::Static { until })
}

/// Any scenario.
pub fn any() -> impl Strategy<Value = Scenario> {
    let reservations = prop_oneof![2 => Just(Vec::new()), 1 => vec((0..60_000u64, 0..40_000u64), 1..3)];
    (vec(job(), 1..7), vec(fault(), 0..80), vec(0..60_000u64, 0..2), reservations).prop_map(
        |(jobs, faults, revocations, reservations)| Scenario { jobs, faults, revocations, reservations },
    )
}
