//! Stores that don't keep their promises: the simulation has to find each of them out.

use pipeline_lock::{
    lock::{Beat, Holder, LockState, Request, Term, Token},
    store::Expected,
};

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A swap takes effect whatever the revision is: an eviction that was decided on an older beat, say.
    NoRevisionCheck,
    /// A first write takes effect where nobody holds, whoever waits.
    FirstWriteIgnoresQueue,
    /// A first write takes effect over anything.
    FirstWriteIgnoresHolders,
    /// A renewal makes a hold that is not there.
    RenewalCreates,
    /// A renewal that arrives late or twice does not raise the beat, and counts.
    LateRenewalKeepsBeat,
    /// A renewal leaves the revision as it is.
    RenewalKeepsRevision,
    /// A grant on a free lock has the fencing number of the one before.
    FenceIsReused,
}

impl Flaw {
    pub const ALL: [Self; 7] = [
        Self::NoRevisionCheck,
        Self::FirstWriteIgnoresQueue,
        Self::FirstWriteIgnoresHolders,
        Self::RenewalCreates,
        Self::LateRenewalKeepsBeat,
        Self::RenewalKeepsRevision,
        Self::FenceIsReused,
    ];
}

/// As [`Expected::apply`], with the flaw.
pub fn apply(
    flaw: Flaw,
    expected: Expected<'_>,
    current: Option<&LockState>,
    new: &LockState,
) -> Option<LockState> {
    match (flaw, expected, current) {
        (Flaw::NoRevisionCheck, Expected::This(_), Some(current)) => {
            let mut next = new.clone();
            next.rev = next.rev.max(current.rev.next());
            Some(next)
        }
        (Flaw::FirstWriteIgnoresQueue, Expected::Free { seed }, Some(current))
            if current.holders.is_empty() =>
        {
            let queue = current.queue.clone();
            let mut next = new.clone().over_free(Some(current), seed);
            next.queue = queue;
            Some(next)
        }
        (Flaw::FirstWriteIgnoresHolders, Expected::Free { seed }, Some(current)) => {
            Some(new.clone().over_free(Some(current), seed))
        }
        (Flaw::FenceIsReused, Expected::Free { .. }, current) => {
            let mut next = expected.apply(current, new)?;
            next.fence = current.map_or(next.fence, |current| current.fence);
            Some(next)
        }
        _ => expected.apply(current, new),
    }
}

/// As [`LockState::renew`], with the flaw; `known` is what the token asked for.
pub fn renew(flaw: Flaw, state: &mut LockState, token: Token, beat: Beat, known: Option<&Request>) -> bool {
    let before = state.clone();
    let is_renewed = state.renew(token, beat);
    match flaw {
        Flaw::RenewalCreates if !is_renewed => {
            let Some(request) = known else { return false };
            state.fence = state.fence.next();
            let fence = Some(state.fence);
            state.holders.push(Holder::granted(request, fence));
            state.rev = state.rev.next();
            true
        }
        Flaw::LateRenewalKeepsBeat if is_renewed => {
            let is_late = |h: &&Holder| {
                h.token == token && matches!(h.term, Term::Live { beat: last, .. } if last >= beat)
            };
            if before.holders.iter().find(is_late).is_some() {
                *state = before;
            }
            true
        }
        Flaw::RenewalKeepsRevision => {
            state.rev = before.rev;
            is_renewed
        }
        _ => is_renewed,
    }
}
