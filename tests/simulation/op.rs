//! What is asked of the store and what it answers, and how it is told.

use std::fmt;

use pipeline_lock::{
    lock::{Beat, EpochMs, LockName, LockState, Term, Token},
    store::{Renewal, Swap},
};

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
