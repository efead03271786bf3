//! When two states are the same: what will happen depends on differences of numbers and times, never on them alone.

use std::{
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
};

use pipeline_lock::lock::LockState;

use crate::{
    model::{Client, Ghost, Op, Phase, State, beat_of, client_of},
    seen::{Number, Seen},
};

/// All windows are over after so many seconds: that of the third in the queue for an eviction is the longest, 24 s.
const OLD: u64 = 33;

/// So many grants ago, none of those holders is there any more.
const OLD_FENCE: u64 = 4;

/// The state in 128 bits: among a million states two of them are taken for one with a chance of one in 10²⁶.
pub fn of(state: &State) -> u128 {
    let text = text(state);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

fn text(state: &State) -> String {
    let mut text = String::with_capacity(600);
    let (rev, fence) = state.document.as_ref().map_or((0, 0), |d| (d.rev.0, d.fence.0));
    let origin = Origin { now: state.now, rev, fence };
    text.push(char::from(b'0' + state.faults_left));
    // Nobody sees an old document any more once all has gone wrong that may.
    let before = state.before.as_ref().filter(|_| state.faults_left > 0);
    for document in [state.document.as_ref(), before] {
        match document {
            Some(document) => origin.document(&mut text, document),
            None => text.push('-'),
        }
    }
    for it in &state.clients {
        origin.client(&mut text, it);
    }
    let mut ghosts: Vec<String> = state.ghosts.iter().filter_map(|ghost| origin.ghost(ghost)).collect();
    ghosts.sort();
    text.push_str(&ghosts.concat());
    text
}

struct Origin {
    now: u64,
    rev: u64,
    fence: u64,
}

impl Origin {
    fn fence(&self, fence: u64) -> u64 {
        self.fence.wrapping_sub(fence).min(OLD_FENCE)
    }

    fn document(&self, text: &mut String, document: &LockState) {
        let _ = write!(text, "[{}", self.fence(document.fence.0));
        for h in &document.holders {
            let (client, tries) = client_of(h.token);
            let fence = self.fence(document.fence_of(h).0);
            let _ = write!(text, "h{client}{tries}{}{}f{fence}", beat_of(h), h.slot);
        }
        for w in document.in_order() {
            let (client, tries) = client_of(w.token);
            let _ = write!(text, "q{client}{tries}{}", w.missed);
        }
        text.push(']');
    }

    fn client(&self, text: &mut String, it: &Client) {
        let phase = match it.phase {
            Phase::NotBegun => 'n',
            Phase::Asking => 'a',
            Phase::Working => 'w',
            Phase::Ending => 'e',
            Phase::Over => 'o',
            Phase::Dead => 'd',
        };
        let runs = it.runs_until.map_or(0, |until| until - self.now);
        let _ = write!(text, "|{phase}{}r{runs}", it.tries);
        if it.phase == Phase::Over || (it.phase == Phase::Dead) {
            return;
        }
        let _ = write!(text, "{}{}b{}.{}", it.replaces.is_some(), it.was_queued, it.beat, it.renewals);
        if it.phase == Phase::Asking {
            self.seen(text, &it.seen);
        }
        if let Some(op) = &it.pending {
            let _ = write!(text, "s{}", self.now - it.sent);
            self.op(text, op);
        }
    }

    /// A write that was made for a revision that is no more has no effect, whatever it would write.
    fn op(&self, text: &mut String, op: &Op) {
        match op {
            Op::Free => text.push('F'),
            Op::This { expected, new, grants } if expected.rev.0 == self.rev => {
                text.push(if *grants { 'G' } else { 'W' });
                self.document(text, new);
            }
            Op::This { .. } => text.push('X'),
            Op::Renew { beat, confirms } => drop(write!(text, "R{beat}{confirms}")),
        }
    }

    fn ghost(&self, ghost: &Ghost) -> Option<String> {
        let mut text = format!("g{}{}", ghost.client, ghost.tries);
        self.op(&mut text, &ghost.op);
        (!text.ends_with('X')).then_some(text)
    }

    fn seen(&self, text: &mut String, seen: &Seen) {
        for number in seen.numbers() {
            let _ = match *number {
                Number::Moment(at) => write!(text, "m{}", (self.now - at).min(OLD)),
                Number::Rev(rev) => write!(text, "{}", if rev >= self.rev { 'N' } else { 'O' }),
                Number::Fence(fence) => write!(text, "f{}", self.fence(fence)),
                Number::Beat(beat) => write!(text, "b{beat}"),
                Number::Token(token) => write!(text, "t{token}"),
                Number::Missed(times) => write!(text, "x{times}"),
            };
        }
    }
}
