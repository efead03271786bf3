//! The store's side: the documents with some of their older versions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pipeline_lock::{
    lock::{Beat, Fence, LockState, Owner, Request, Token},
    store::{Expected, Renewal, Swap},
};

use crate::{
    Real,
    audit::Audit,
    flaws,
    op::{Op, Reply, short, shown},
    order::Order,
    progress::Progress,
    world::Inner,
};

/// How many versions are kept for stale reads.
const VERSIONS: usize = 5;

/// All locks.
pub struct Documents {
    locks: Vec<Document>,
    requests: BTreeMap<Token, (Request, usize)>,
}

/// One lock.
#[derive(Default)]
pub struct Document {
    versions: VecDeque<LockState>,
    pub audit: Audit,
    pub order: Order,
    pub progress: Progress,
    /// The fencing number of each token's last grant.
    pub fences: BTreeMap<Token, Fence>,
    /// Who lost its place to a newer pipeline.
    pub obsolete: BTreeSet<Token>,
    /// Who went on with what its pipeline had left standing.
    pub picked_up: BTreeSet<Token>,
    /// Who is asked to end, and since when.
    pub revoked: BTreeMap<Token, Real>,
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

    pub fn lock_mut(&mut self, number: usize) -> &mut Document {
        &mut self.locks[number]
    }

    /// What a token asks for.
    pub fn request(&self, token: Token) -> Option<&Request> {
        self.requests.get(&token).map(|(request, _)| request)
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
                let known = self.documents.request(token);
                flaws::renew(flaw, &mut state, token, beat, known)
            }
            None => state.renew(token, beat),
        };
        if !is_renewed {
            return Reply::Renewal(Renewal::Gone(Some(state)));
        }
        // A holder counts its lease from here, and who watches it has to see that.
        let beat = |state: &LockState| state.holder(token).map(|h| h.term);
        if beat(&state) == beat(current) {
            self.must(Err(format!("a renewal of {} counts and is not seen", short(token))));
        }
        self.documents.store(lock, state.clone());
        Reply::Renewal(Renewal::Renewed(state))
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
