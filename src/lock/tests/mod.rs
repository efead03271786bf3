//! Tests of the core's rules, one file per rule book, and what they are built from.

mod admission;
mod codec;
mod history;
mod hold;
mod line;
mod newer;
mod order;
mod part;
mod passing;
mod queue;
mod reserve;
mod size;
mod slots;
mod steps;
mod watch;

use std::time::Duration;

use uuid::Uuid;

use super::{
    Beat, EpochMs, Limit, LockState, Mode, Moment, Order, Outcome, Owner, Plan, Request, Sight, Term, Token,
    Watch, Who, plan,
};

const LEASE: Duration = Duration::from_secs(60);
const START: EpochMs = EpochMs(1_700_000_000_000);

fn token(n: u128) -> Token {
    Token::new(Uuid::from_u128(n))
}

/// A job's exclusive request; job and token have the same number.
fn job(n: u64) -> Request {
    Request {
        owner: Owner::job("gitlab.example", n),
        token: token(n.into()),
        replaces: None,
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        order: Order::First,
        line: None,
        max_queue: None,
        term: Term::Live { beat: Beat(0), lease: Some(LEASE) },
        who: Who::default(),
        since: START,
        force_after: None,
    }
}

fn shared(n: u64) -> Request {
    Request { mode: Mode::Shared, limit: Mode::Shared.default_limit(), ..job(n) }
}

/// A request that gets on with `limit` of its kind.
fn counted(n: u64, limit: u32) -> Request {
    Request { limit: Limit(limit), ..job(n) }
}

/// A member of a pipeline.
fn member(pipeline: u64, n: u64) -> Request {
    Request { owner: Owner::pipeline("gitlab.example", 1, pipeline), ..job(n) }
}

/// The same job, tried again.
fn retry(first: &Request, n: u128) -> Request {
    Request { token: token(n), replaces: Some(first.token), ..first.clone() }
}

/// A lock after each of `requests` was made in turn.
fn lock(requests: &[&Request]) -> LockState {
    let mut state = LockState::new(START);
    for request in requests {
        ask(&mut state, request);
    }
    state
}

fn ask(state: &mut LockState, request: &Request) -> Outcome {
    let outcome = state.request(request, true);
    state.seal(START);
    outcome
}

fn holders(state: &LockState) -> Vec<Token> {
    state.holders.iter().map(|h| h.token).collect()
}

fn waiters(state: &LockState) -> Vec<Token> {
    state.in_order().iter().map(|w| w.token).collect()
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn sight(now: Moment) -> Sight<'static> {
    Sight { now, store_now: START, gone: &[], may_queue: true, was_queued: true }
}

fn step(state: &LockState, request: &Request, watch: &Watch, sight: Sight<'_>) -> Plan {
    plan(state, request, watch, sight, START)
}

/// What a step writes; anything else fails the test.
fn written(plan: Plan) -> (LockState, Outcome) {
    match plan {
        Plan::Write { next, outcome, .. } => (*next, outcome),
        other => panic!("expected a write, got {other:?}"),
    }
}
