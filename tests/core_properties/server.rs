//! The store: one document in its stored form, with the versions before it for stale reads.

use pipeline_lock::{
    lock::{Beat, EpochMs, LockState, Map, Token, codec},
    store::{Expected, Renewal, Swap},
};

/// A request.
#[derive(Clone, Debug)]
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

#[derive(Default)]
pub struct Server {
    versions: Vec<Map>,
}

impl Server {
    pub fn current(&self) -> Option<LockState> {
        self.version(0)
    }

    /// The document as it was `back` writes ago (or as it was first).
    fn version(&self, back: usize) -> Option<LockState> {
        let last = self.versions.len().checked_sub(1)?;
        let map = self.versions[last.saturating_sub(back)].clone();
        Some(codec::decode(map).expect("what was written can be read"))
    }

    /// Does what is asked.
    pub fn serve(&mut self, op: &Op, stale: usize) -> Reply {
        match op {
            Op::Read { strong } => Reply::Document(self.version(if *strong { 0 } else { stale })),
            Op::SwapFree { seed, new } => self.swap(Expected::Free { seed: *seed }, new),
            Op::SwapThis { expected, new } => self.swap(Expected::This(expected), new),
            Op::Renew { token, beat } => self.renew(*token, *beat),
        }
    }

    fn swap(&mut self, expected: Expected<'_>, new: &LockState) -> Reply {
        let current = self.current();
        Reply::Swap(match expected.apply(current.as_ref(), new) {
            Some(next) => {
                self.store(&next);
                Swap::Swapped(next)
            }
            None => Swap::Conflict(current),
        })
    }

    fn renew(&mut self, token: Token, beat: Beat) -> Reply {
        let Some(mut state) = self.current() else { return Reply::Renewal(Renewal::Gone(None)) };
        if !state.renew(token, beat) {
            return Reply::Renewal(Renewal::Gone(Some(state)));
        }
        self.store(&state);
        Reply::Renewal(Renewal::Renewed(state))
    }

    fn store(&mut self, state: &LockState) {
        self.versions.push(codec::encode(state));
    }
}
