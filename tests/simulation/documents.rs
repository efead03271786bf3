//! The store's side: the documents with some of their older versions, and what must hold of each change.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use pipeline_lock::{
    lock::{Beat, EpochMs, Fence, Holder, LockName, LockState, Owner, Request, Term, Token},
    store::{Expected, Renewal, Swap},
};

use crate::{
    Real, Verdict,
    audit::{Audit, Change},
    flaws,
    order::Order,
    progress::{Progress, Standing},
    scenario::START,
    world::{Inner, Phase},
};

/// How many versions are kept for stale reads.
const VERSIONS: usize = 5;

/// What the claim window is at least, in true time.
const CLAIM_WINDOW: Real = 14_250;

/// A static hold is left alone for two seconds after its time, of a clock that shows whole seconds.
const LEFT_ALONE: Real = 3_500;

/// A request.
#[derive(Clone)]
pub enum Op {
    Read { strong: bool },
    SwapFree { seed: EpochMs, new: LockState },
    SwapThis { expected: LockState, new: LockState },
    Renew { token: Token, beat: Beat },
}

/// A reply.
#[derive(Clone, Debug)]
pub enum Reply {
    Document(Option<LockState>),
    Swap(Swap),
    Renewal(Renewal),
}

/// All locks.
pub struct Documents {
    locks: Vec<Document>,
    requests: BTreeMap<Token, (Request, usize)>,
}

/// One lock.
#[derive(Default)]
pub struct Document {
    versions: VecDeque<LockState>,
    audit: Audit,
    order: Order,
    pub progress: Progress,
    /// The fencing number of each token's last grant.
    pub fences: BTreeMap<Token, Fence>,
    /// Who lost its place to a newer pipeline.
    obsolete: BTreeSet<Token>,
}

impl Document {
    pub fn current(&self) -> Option<&LockState> {
        self.versions.back()
    }

    fn version(&self, back: usize) -> Option<LockState> {
        let last = self.versions.len().checked_sub(1)?;
        self.versions.get(last.saturating_sub(back)).cloned()
    }
}

impl Documents {
    pub fn new(locks: usize) -> Self {
        Self { locks: (0..locks).map(|_| Document::default()).collect(), requests: BTreeMap::new() }
    }

    pub fn knows(&mut self, request: &Request, process: usize) {
        self.requests.insert(request.token, (request.clone(), process));
    }

    pub fn lock(&self, number: usize) -> &Document {
        &self.locks[number]
    }

    /// Time to a free lock is counted from here at the earliest.
    pub fn excuse(&mut self, from: Real) {
        self.locks.iter_mut().for_each(|lock| lock.progress.excuse(from));
    }

    pub fn excuse_arrival(&mut self, at: Real, is_late: bool) {
        if is_late {
            self.excuse(at);
        }
    }

    /// Which process acts for a token.
    pub fn process_of(&self, token: Token) -> Option<usize> {
        self.requests.get(&token).map(|(_, process)| *process)
    }

    pub fn requests_of(&self, owner: &Owner) -> impl Iterator<Item = &Request> {
        self.requests.values().map(|(request, _)| request).filter(move |request| request.owner == *owner)
    }
}

impl Inner {
    /// The store does what `op` asks for, and the change is looked at.
    pub fn serve(&mut self, id: usize, lock: usize, op: &Op, stale: usize) -> Reply {
        let before = self.documents.locks[lock].current().cloned();
        let reply = match op {
            Op::Read { strong } => {
                Reply::Document(self.documents.locks[lock].version(if *strong { 0 } else { stale }))
            }
            Op::SwapFree { seed, new } => self.swap(lock, Expected::Free { seed: *seed }, new),
            Op::SwapThis { expected, new } => self.swap(lock, Expected::This(expected), new),
            Op::Renew { token, beat } => self.renew(lock, *token, *beat),
        };
        if let Some(after) = self.documents.locks[lock].current()
            && before.as_ref() != Some(after)
        {
            let after = after.clone();
            let verdict = self.changed(id, lock, before.as_ref(), &after);
            self.tell(id, || format!("  lock-{lock} {op:?} took effect: {}", shown(&after)));
            self.must(verdict);
        }
        self.check_progress(lock);
        reply
    }

    fn swap(&mut self, lock: usize, expected: Expected<'_>, new: &LockState) -> Reply {
        let current = self.documents.locks[lock].current().cloned();
        let next = match self.flaw {
            Some(flaw) => flaws::apply(flaw, expected, current.as_ref(), new),
            None => expected.apply(current.as_ref(), new),
        };
        Reply::Swap(match next {
            Some(next) => {
                self.documents.store(lock, next.clone());
                Swap::Swapped(next)
            }
            None => Swap::Conflict(current),
        })
    }

    fn renew(&mut self, lock: usize, token: Token, beat: Beat) -> Reply {
        let Some(current) = self.documents.locks[lock].current() else {
            return Reply::Renewal(Renewal::Gone(None));
        };
        let mut state = current.clone();
        let is_renewed = match self.flaw {
            Some(flaw) => {
                let known = self.documents.requests.get(&token).map(|(request, _)| request);
                flaws::renew(flaw, &mut state, token, beat, known)
            }
            None => state.renew(token, beat),
        };
        if !is_renewed {
            return Reply::Renewal(Renewal::Gone(Some(state)));
        }
        self.documents.store(lock, state.clone());
        Reply::Renewal(Renewal::Renewed(state))
    }

    fn changed(&mut self, id: usize, lock: usize, before: Option<&LockState>, after: &LockState) -> Verdict {
        let none = LockState::new(EpochMs(0));
        let before = before.unwrap_or(&none);
        let nobody = nobody();
        let request = self.processes[id].token.and_then(|token| self.documents.requests.get(&token));
        let request = request.map_or(&nobody, |(request, _)| request);
        let dead = BTreeSet::new();
        let change = Change { before, after, request, known_dead: &dead, at: self.now };
        let has_unanswered = self.processes[id].has_unanswered || self.processes[id].may_haunt;
        let document = &mut self.documents.locks[lock];
        document.audit.check(&change)?;
        document.order.check(&change, true)?;
        let obsolete = before.queue.iter().filter(|w| change.makes_obsolete(w)).map(|w| w.token);
        document.obsolete.extend(obsolete);
        for holder in change.granted() {
            document.fences.insert(holder.token, after.fence_of(holder));
            // Who never heard that it was in the queue comes as a new one; who joins its pipeline's hold is welcome.
            let is_obsolete = document.obsolete.contains(&holder.token);
            if is_obsolete && !has_unanswered && !change.joins(holder) {
                return Err(format!("{:?} is obsolete and did not learn it", holder.token));
            }
        }
        self.what_stands_for_a_pipeline_stays(id, &change)?;
        let missed = |w: &&pipeline_lock::lock::Waiter| match after.waiter(w.token) {
            Some(now) => now.missed > w.missed,
            None => w.token != request.token && w.missed > 0 && change.granted().next().is_some(),
        };
        match before.in_order().into_iter().next().filter(missed) {
            Some(head) => self.is_passed_over_with_cause(head.token),
            None => Ok(()),
        }
    }

    /// What was left standing stands until its time is over, a job of its pipeline goes on with it, or one is through
    /// that ends it. (Who cleans up after a dead keeper takes all away that this one had.)
    fn what_stands_for_a_pipeline_stays(&self, id: usize, change: &Change<'_>) -> Verdict {
        let is_between = |h: &&Holder| h.between && !change.after.holder(h.token).is_some_and(|h| h.between);
        for standing in change.before.holders.iter().filter(is_between) {
            let is_over = matches!(standing.term, Term::Static { until } if until.is_some_and(|u| u.0 < START + self.now));
            let goes_on = change.granted().any(|h| h.owner == standing.owner);
            let is_of_it = change.request.owner == standing.owner;
            let process = &self.processes[id];
            if !(is_over || goes_on || is_of_it && process.may_end_all) {
                return Err(format!("{} ended what {} left standing", process.name, short(standing.token)));
            }
        }
        Ok(())
    }

    /// A head that is well all the time claims in time, and is not passed over. (Who stands behind a dead head can
    /// be: each waits for the head's window from when it saw it, and the later in the queue, the more rarely it looks.)
    fn is_passed_over_with_cause(&self, token: Token) -> Verdict {
        let Some(id) = self.documents.process_of(token) else { return Ok(()) };
        let process = &self.processes[id];
        let is_there = !process.is_dead && process.phase == Phase::Acquiring;
        if is_there && self.well_since(id) + CLAIM_WINDOW <= self.now {
            return Err(format!("{} was well and was passed over", process.name));
        }
        Ok(())
    }

    /// Whether somebody alive waits for the lock while nobody alive has it.
    pub fn check_progress(&mut self, lock: usize) {
        let Some(state) = self.documents.locks[lock].current() else { return };
        let (now, is_calm) = (self.now, self.is_calm());
        let process = |token| self.documents.process_of(token).map(|id| &self.processes[id]);
        let lives = |token| process(token).is_some_and(|it| !it.is_dead && it.phase != Phase::Over);
        let stands = |until: Option<EpochMs>| until.is_none_or(|u| u.0 + LEFT_ALONE >= START + now);
        let holds = state.holders.iter().any(|h| match h.term {
            Term::Live { .. } => lives(h.token),
            Term::Static { until } => stands(until),
        });
        let asks = |token| process(token).is_some_and(|it| !it.is_dead && it.phase == Phase::Acquiring);
        let head = state.in_order().iter().map(|w| w.token).find(|token| asks(*token));
        let places = state.queue.len() as Real;
        let standing = Standing { is_held: holds, head, places, is_calm };
        let verdict = self.documents.locks[lock].progress.check(&standing, now);
        self.must(verdict.map_err(|broken| format!("lock-{lock}: {broken}")));
    }

    /// Whether nothing goes wrong in this run at all.
    fn is_calm(&self) -> bool {
        let scenario = &self.scenario;
        scenario.network.is_well()
            && scenario.hosts.iter().all(|h| {
                h.dies.is_none() && h.frozen.is_empty() && h.cut_off.is_empty() && h.refused.is_empty()
            })
            && scenario.jobs.iter().all(|job| job.is_calm())
    }
}

impl Documents {
    fn store(&mut self, lock: usize, state: LockState) {
        let versions = &mut self.locks[lock].versions;
        versions.push_back(state);
        if versions.len() > VERSIONS {
            versions.pop_front();
        }
    }
}

/// The request of an operator, who asks for nothing.
fn nobody() -> Request {
    let token = Token::new(uuid::Uuid::nil());
    Request::new(Owner::alone(token), token, Term::Static { until: None })
}

pub fn number(name: &LockName) -> usize {
    name.as_str().trim_start_matches("lock-").parse().expect("one of the locks")
}

/// A token as the number of its job and try.
pub fn short(token: Token) -> String {
    let number = token.uuid().as_u128();
    if number == 0 { "operator".into() } else { format!("{}.{}", (number - 1) / 100, (number - 1) % 100) }
}

/// A document in one line.
pub fn shown(state: &LockState) -> String {
    let holders: Vec<String> = state
        .holders
        .iter()
        .map(|h| match h.term {
            Term::Live { beat, .. } => format!("{}♥{beat}", short(h.token)),
            Term::Static { .. } => format!("{}⏲", short(h.token)),
        })
        .collect();
    let queue: Vec<String> =
        state.in_order().iter().map(|w| short(w.token) + &"!".repeat(w.missed as usize)).collect();
    format!(
        "rev {} fence {} held [{}] queue [{}]",
        state.rev.0 % 1_000_000,
        state.fence.0 % 1_000_000,
        holders.join(" "),
        queue.join(" ")
    )
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { strong: true } => f.write_str("READ"),
            Self::Read { strong: false } => f.write_str("read"),
            Self::SwapFree { .. } => f.write_str("FIRST WRITE"),
            Self::SwapThis { expected, new } => {
                write!(f, "SWAP {} for {}", expected.rev.0 % 1_000_000, shown(new))
            }
            Self::Renew { token, beat } => write!(f, "RENEW {} to {beat}", short(*token)),
        }
    }
}
