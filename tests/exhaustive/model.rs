//! A small world: one document, a few clients that act by the core alone, and time in steps.

use std::{rc::Rc, time::Duration};

use pipeline_lock::lock::{
    Beat, EpochMs, Fence, Holder, Limit, LockState, Mode, Moment, Owner, Request, Term, Token, Who,
};
use uuid::Uuid;

use crate::seen::Seen;

/// The lease of every hold. A waiter evicts after 22 s, the k-th k - 1 seconds later.
pub const LEASE: u64 = 20;

/// Time goes in steps of so many seconds: two are longer than a lease, and just enough for an eviction.
pub const STEP: u64 = 11;

const START: u64 = 1000;

/// What is wanted by whom, and how much goes wrong.
#[derive(Clone, Debug)]
pub struct World {
    pub name: &'static str,
    pub clients: Vec<Wish>,
    /// How many crashes, lost and late replies, lost and late writes, and old documents there are at most.
    pub faults: u8,
    /// How many tries a client makes at most.
    pub tries: u8,
    /// How often each hold is renewed at most.
    pub renewals: u8,
    /// Whether clients leave the queue of their own accord.
    pub leave: bool,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Alone,
    OneOf(u32),
    Shared,
    /// A member of the pipeline.
    Member,
}

/// All there is.
#[derive(Clone)]
pub struct State {
    pub now: u64,
    pub document: Option<Rc<LockState>>,
    /// The version before: for stale reads.
    pub before: Option<Rc<LockState>>,
    pub clients: Vec<Client>,
    /// Writes that nobody waits for any more and that may still arrive.
    pub ghosts: Vec<Ghost>,
    pub faults_left: u8,
}

#[derive(Clone)]
pub struct Client {
    pub tries: u8,
    pub replaces: Option<Token>,
    pub phase: Phase,
    pub was_queued: bool,
    pub seen: Seen,
    pub pending: Option<Op>,
    /// When the last request was sent.
    pub sent: u64,
    /// Until when its work runs at the longest.
    pub runs_until: Option<u64>,
    pub fence: Option<Fence>,
    pub beat: u64,
    pub renewals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    NotBegun,
    Asking,
    Working,
    /// It gives back what it has.
    Ending,
    Over,
    Dead,
}

/// A write on its way.
#[derive(Clone)]
pub enum Op {
    Free,
    This { expected: Rc<LockState>, new: Rc<LockState>, grants: bool },
    Renew { beat: u64, confirms: bool },
}

#[derive(Clone)]
pub struct Ghost {
    pub client: usize,
    pub tries: u8,
    pub op: Op,
}

impl State {
    pub fn new(world: &World) -> Self {
        let client = Client {
            tries: 0,
            replaces: None,
            phase: Phase::NotBegun,
            was_queued: false,
            seen: Seen::default(),
            pending: None,
            sent: 0,
            runs_until: None,
            fence: None,
            beat: 0,
            renewals: 0,
        };
        Self {
            now: 0,
            document: None,
            before: None,
            clients: vec![client; world.clients.len()],
            ghosts: Vec::new(),
            faults_left: world.faults,
        }
    }

    /// Whether a client's work runs.
    pub fn runs(&self, client: usize) -> bool {
        self.clients[client].runs_until.is_some()
    }
}

pub fn token(client: usize, tries: u8) -> Token {
    Token::new(Uuid::from_u128(client as u128 * 10 + u128::from(tries) + 1))
}

/// The client and the try of a token.
pub fn client_of(token: Token) -> (usize, u8) {
    let number = token.uuid().as_u128() - 1;
    (usize::try_from(number / 10).unwrap_or(usize::MAX), (number % 10) as u8)
}

pub fn moment(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

pub fn wall() -> EpochMs {
    EpochMs(START)
}

pub fn request(world: &World, client: usize, tries: u8, replaces: Option<Token>) -> Request {
    let (mode, limit) = match world.clients[client] {
        Wish::Alone | Wish::Member => (Mode::Exclusive, Limit(1)),
        Wish::OneOf(n) => (Mode::Exclusive, Limit(n)),
        Wish::Shared => (Mode::Shared, Mode::Shared.default_limit()),
    };
    let owner = match world.clients[client] {
        Wish::Member => Owner::pipeline("gitlab", 1, 1),
        _ => Owner::job("gitlab", client as u64),
    };
    let term = Term::Live { beat: Beat(0), lease: Some(Duration::from_secs(LEASE)) };
    let request = Request::new(owner, token(client, tries), term);
    Request { replaces, mode, limit, who: Who::default(), since: wall(), ..request }
}

pub fn beat_of(holder: &Holder) -> Beat {
    match holder.term {
        Term::Live { beat, .. } => beat,
        Term::Static { .. } => Beat(0),
    }
}
