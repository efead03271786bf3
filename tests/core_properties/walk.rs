//! Any transitions in any order, without a client's good sense: the document keeps its promises by itself.

use std::{collections::BTreeSet, time::Duration};

use pipeline_lock::{
    lock::{Beat, EpochMs, Holder, LockState, Outcome, Request, Term, Token, codec},
    store::Expected,
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    Verdict,
    audit::{Audit, Change},
    config,
    order::Order,
    scenario::{self, Job, START},
};

/// One step of one job's newest try.
#[derive(Clone, Copy, Debug)]
enum Move {
    Request {
        may_queue: bool,
    },
    FirstWrite,
    Release,
    /// It goes, and its pipeline's hold stands for so long.
    Part {
        linger: Option<u64>,
    },
    Renew(u64),
    Revoke,
    PassOver,
    Answer,
    /// It tries again, and names its old try or does not.
    Retry {
        named: bool,
    },
    /// It evicts the holder of this number at the beat that stands there.
    Evict(usize),
    Expire(u64),
    Reserve(u64),
    /// The newest reservation is released.
    Unreserve,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => prop::bool::weighted(0.9).prop_map(|may_queue| Move::Request { may_queue }),
        2 => Just(Move::FirstWrite),
        3 => Just(Move::Release),
        3 => option::of(100_000..3_000_000u64).prop_map(|linger| Move::Part { linger }),
        2 => (0..9u64).prop_map(Move::Renew),
        1 => Just(Move::Revoke),
        2 => Just(Move::PassOver),
        1 => Just(Move::Answer),
        3 => proptest::bool::ANY.prop_map(|named| Move::Retry { named }),
        1 => (0..4usize).prop_map(Move::Evict),
        1 => (0..60_000u64).prop_map(Move::Expire),
        1 => (0..60_000u64).prop_map(Move::Reserve),
        2 => Just(Move::Unreserve),
    ]
}

struct Walk {
    state: LockState,
    requests: Vec<Request>,
    retries: usize,
    audit: Audit,
    order: Order,
    at: u64,
}

impl Walk {
    fn new(jobs: &[Job]) -> Self {
        let mut requests: Vec<Request> =
            jobs.iter().enumerate().map(|(number, job)| job.request(number, 0, None)).collect();
        for (request, job) in requests.iter_mut().zip(jobs) {
            if let scenario::Kind::Static(ttl) = job.kind {
                request.term = Term::Static { until: Some(EpochMs(START + ttl)) };
            }
        }
        let state = LockState::new(EpochMs(START));
        Self { state, requests, retries: 0, audit: Audit::default(), order: Order::default(), at: 0 }
    }

    fn make(&mut self, who: usize, step: Move) -> Verdict {
        // Time is no matter here: every holder may be evicted, every waiter be passed over.
        self.at += 100_000;
        let who = who % self.requests.len();
        let before = self.state.clone();
        let mut request = self.requests[who].clone();
        let mut dead = BTreeSet::new();
        match step {
            Move::Request { may_queue } => self.request(&request, may_queue)?,
            Move::FirstWrite => self.first_write(&request),
            Move::Release => drop(self.state.release(request.token)),
            Move::Part { linger } => self.part(request.token, linger)?,
            Move::Renew(beat) => self.renew(request.token, Beat(beat))?,
            Move::Revoke => drop(self.state.revoke(request.token, "operator")),
            Move::PassOver => drop(self.state.pass_over(&request)),
            Move::Answer => self.state.answer(request.token),
            Move::Retry { named } => {
                request = self.retry(who, named);
                dead.extend(request.replaces);
                self.state.request(&request, true);
            }
            Move::Evict(number) => self.evict(number)?,
            Move::Expire(after) => {
                let expired = self.state.expire(EpochMs(START + after));
                dead.extend(expired.iter().map(|h| h.token));
            }
            Move::Reserve(until) => {
                request = scenario::reservation(self.at, until);
                self.state.reserve(&request, "maintenance");
            }
            Move::Unreserve => {
                let Some(reserved) = self.state.reservation().cloned() else { return Ok(()) };
                request.token = reserved.token;
                self.state.release(reserved.token);
            }
        }
        if self.state == before {
            return Ok(());
        }
        if self.state.rev == before.rev {
            self.state.seal(EpochMs(START + self.at));
        }
        let change =
            Change { before: &before, after: &self.state, request: &request, known_dead: &dead, at: self.at };
        self.audit.check(&change).and_then(|()| self.order.check(&change, false))?;
        comes_back(&self.state)
    }

    fn request(&mut self, request: &Request, may_queue: bool) -> Verdict {
        let outcome = self.state.request(request, may_queue);
        let (holds, waits) =
            (self.state.holder(request.token).is_some(), self.state.waiter(request.token).is_some());
        let told = match outcome {
            Outcome::Granted => (true, false),
            Outcome::Queued => (false, true),
            Outcome::Busy | Outcome::QueueFull(_) | Outcome::Obsolete { .. } => (false, false),
        };
        if told != (holds, waits) {
            return Err(format!("{outcome:?}, and holds: {holds}, waits: {waits}"));
        }
        let before = self.state.clone();
        if self.state.request(request, may_queue) != outcome || self.state != before {
            return Err("asking twice is not asking once".into());
        }
        Ok(())
    }

    fn part(&mut self, token: Token, linger: Option<u64>) -> Verdict {
        let linger = linger.map(|span| (EpochMs(START + self.at), Duration::from_millis(span)));
        let works = self.state.holder(token).filter(|h| !h.between && h.revoked.is_none()).cloned();
        self.state.part(token, linger);
        if let (Some(old), Some((now, span))) = (works.filter(|h| h.owner.has_members()), linger) {
            let mut own = self.state.holders.iter().filter(|h| h.owner == old.owner);
            let until = Some(now.plus(span));
            let stands = own.any(|h| h.token != token || h.between && h.term == Term::Static { until });
            if !stands {
                return Err("the last member left nothing standing".into());
            }
        }
        let before = self.state.clone();
        let again = linger.map(|(now, span)| (now.plus(span), span));
        match (self.state.part(token, again), self.state == before) {
            (false, true) => Ok(()),
            _ => Err("parting twice is not parting once".into()),
        }
    }

    fn first_write(&mut self, request: &Request) {
        let seed = EpochMs(START - 1000);
        let mut new = LockState::new(seed);
        new.holders.push(Holder::granted(request, None));
        if let Some(next) = (Expected::Free { seed }).apply(Some(&self.state), &new) {
            self.state = next;
        }
    }

    fn renew(&mut self, token: Token, beat: Beat) -> Verdict {
        let beat_of = |state: &LockState| match state.holder(token).map(|h| h.term) {
            Some(Term::Live { beat, .. }) => Some(beat),
            _ => None,
        };
        let (before, known) = (beat_of(&self.state), self.state.clone());
        let counted = self.state.renew(token, beat);
        let fair = if counted { beat_of(&self.state) > before } else { self.state == known };
        if fair { Ok(()) } else { Err(format!("renewed from {before:?} to {:?}", beat_of(&self.state))) }
    }

    /// A new try in the place of the one before.
    fn retry(&mut self, who: usize, named: bool) -> Request {
        self.retries += 1;
        let old = &self.requests[who];
        let token = Token::new(uuid::Uuid::from_u128(1_000_000 + self.retries as u128));
        let request = Request { token, replaces: named.then_some(old.token), ..old.clone() };
        self.requests[who] = request.clone();
        request
    }

    fn evict(&mut self, number: usize) -> Verdict {
        let Some(holder) = self.state.holders.get(number).cloned() else { return Ok(()) };
        let Term::Live { beat, .. } = holder.term else { return Ok(()) };
        if self.state.evict(holder.token, beat.next()) {
            return Err("evicted at a beat that was never there".into());
        }
        if self.state.evict(holder.token, beat) { Ok(()) } else { Err("the dead stay".into()) }
    }
}

/// The stored form says the same.
fn comes_back(state: &LockState) -> Verdict {
    match codec::decode(codec::encode(state)) {
        Ok(again) if again == *state => Ok(()),
        other => Err(format!("{state:?} came back as {other:?}")),
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn no_order_of_transitions_breaks_a_document(
        jobs in vec(scenario::job(), 2..7),
        steps in vec((0..7usize, moves()), 1..80),
    ) {
        let mut walk = Walk::new(&jobs);
        for (who, step) in steps {
            if let Err(broken) = walk.make(who, step) {
                return Err(TestCaseError::fail(format!("{step:?} of {who}: {broken}\n{:#?}", walk.state)));
            }
        }
    }
}
