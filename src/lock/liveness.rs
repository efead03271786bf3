//! What a waiter may conclude from what it saw, on its own clock alone: when a holder is dead, when a head of
//! the queue does not claim, and when to look again.

use std::{collections::HashMap, time::Duration};

use super::{Beat, Fence, LockState, Moment, Rev, Term, Token, Waiter};

/// How long a waiter that could be granted the lock has to claim it before others may pass over it.
pub const CLAIM_WINDOW: Duration = Duration::from_secs(15);

/// How much longer than the lease a waiter watches a silent holder: clocks may differ by 5 % in rate, and
/// the holder ends its work when its lease does.
fn eviction_wait(lease: Duration) -> Duration {
    lease + lease / 20 + Duration::from_secs(1)
}

/// Between two waiters who both could act for a dead one: the later in the queue, the later.
const STAGGER: Duration = Duration::from_secs(1);

/// The shortest and the longest time between two looks of the head, and the longest of anyone.
const SHORTEST_LOOK: Duration = Duration::from_millis(150);
const LONGEST_HEAD_LOOK: Duration = Duration::from_secs(2);
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// The longer a hold has lasted, the longer it will: the head looks again after this part of its age.
const LOOKS_PER_AGE: u32 = 4;

/// What one waiter has seen of a lock, and since when.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    newest: Option<Rev>,
    fence: Option<Fence>,
    leased: Vec<Sighting>,
    ready: Vec<Ready>,
    holders: Vec<Token>,
    holders_since: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sighting {
    token: Token,
    /// A token can have the lock more than once, and its beats begin anew then.
    fence: Fence,
    beat: Beat,
    lease: Duration,
    since: Moment,
}

/// A waiter that could claim, and hasn't.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ready {
    token: Token,
    missed: u32,
    since: Moment,
}

impl Watch {
    /// Takes in a document that was read at `now` (after the reply came). A stale one can only make the
    /// waiter wait longer: a beat never comes back, so what was seen before it is no longer counted, and
    /// a swap that rests on it finds a newer revision.
    pub fn observe(&mut self, state: &LockState, now: Moment) {
        let leased = |h: &super::Holder| match h.term {
            Term::Live { beat, lease: Some(lease) } => {
                Some(Sighting { token: h.token, fence: state.fence_of(h), beat, lease, since: now })
            }
            Term::Live { lease: None, .. } | Term::Static { .. } => None,
        };
        let seen: Vec<Sighting> = state
            .holders
            .iter()
            .filter_map(leased)
            .map(|seen| {
                let is_same = |s: &&Sighting| Sighting { since: s.since, ..seen } == **s;
                self.leased.iter().find(is_same).copied().unwrap_or(seen)
            })
            .collect();
        self.leased = seen;
        let holders: Vec<Token> = state.holders.iter().map(|h| h.token).collect();
        // A grant since the last look says that what looks the same is not: a lock that is free each time was held
        // meanwhile.
        let is_anew = self.fence.is_some_and(|last| state.fence > last);
        if self.holders_since.is_none() || self.holders != holders || is_anew {
            (self.holders, self.holders_since) = (holders, Some(now));
        }
        if self.is_newest(state) {
            self.observe_ready(state, now);
        } else {
            // Who could claim then may not have been able to since: what comes next begins the windows anew.
            self.ready.clear();
        }
        self.newest = self.newest.max(Some(state.rev));
        self.fence = self.fence.max(Some(state.fence));
    }

    /// Whether nothing newer than `state` was observed. What an older document does not show may be there
    /// now: from such a one nothing is concluded about one's own place.
    pub fn is_newest(&self, state: &LockState) -> bool {
        Some(state.rev) >= self.newest
    }

    /// Each has a window of its own, from when it could claim; who was passed over gets a second one. A new
    /// head is a sign that the old one claimed, and perhaps held and gave back unseen, and so is a grant whose
    /// holder is gone: all windows begin anew.
    fn observe_ready(&mut self, state: &LockState, now: Moment) {
        let ready = state.ready();
        let is_same_head = self.ready.first().map(|r| r.token) == ready.first().map(|w| w.token);
        let stood = is_same_head && !self.somebody_held_unseen(state);
        let seen: HashMap<Token, Ready> =
            self.ready.drain(..).filter(|_| stood).map(|ready| (ready.token, ready)).collect();
        let since = |w: &Waiter| {
            seen.get(&w.token).filter(|ready| ready.missed == w.missed).map_or(now, |ready| ready.since)
        };
        self.ready =
            ready.into_iter().map(|w| Ready { token: w.token, missed: w.missed, since: since(w) }).collect();
    }

    /// Whether more were granted the lock since the last look than hold it of those.
    fn somebody_held_unseen(&self, state: &LockState) -> bool {
        let Some(last) = self.fence else { return false };
        let seen = state.holders.iter().filter(|h| state.fence_of(h) > last).count() as u64;
        state.fence.0.saturating_sub(last.0) > seen
    }

    /// The leased holders that a waiter at `place` may evict at `now`.
    pub fn dead(&self, place: usize, now: Moment) -> Vec<(Token, Beat)> {
        let due = |s: &&Sighting| now >= self.eviction_due(s, place);
        self.leased.iter().filter(due).map(|s| (s.token, s.beat)).collect()
    }

    /// Whether a waiter at `place` may pass over those ahead of it at `now`: it and all of them could be
    /// granted the lock, and none of them has claimed it for the claim window.
    pub fn may_pass_over(&self, place: usize, now: Moment) -> bool {
        self.passing_due(place).is_some_and(|due| now >= due)
    }

    /// How long a waiter at `place` waits until it looks again, without jitter: zero when there is something
    /// to do for it now.
    pub fn next_look(&self, place: usize, now: Moment) -> Duration {
        let age = self.holders_since.map_or(Duration::ZERO, |since| now.since(since));
        let head = (age / LOOKS_PER_AGE).clamp(SHORTEST_LOOK, LONGEST_HEAD_LOOK);
        let look = head.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)).min(LONGEST_LOOK);
        self.leased
            .iter()
            .map(|s| self.eviction_due(s, place))
            .chain(self.passing_due(place))
            .map(|due| due.since(now))
            .fold(look, Duration::min)
    }

    fn eviction_due(&self, sighting: &Sighting, place: usize) -> Moment {
        sighting.since.plus(eviction_wait(sighting.lease)).plus(stagger(place))
    }

    fn passing_due(&self, place: usize) -> Option<Moment> {
        let ahead = self.ready.get(..place)?.split_last()?.1;
        let since = ahead.iter().map(|ready| ready.since).max()?;
        Some(since.plus(CLAIM_WINDOW).plus(stagger(place)))
    }
}

fn stagger(place: usize) -> Duration {
    STAGGER.saturating_mul(u32::try_from(place.saturating_sub(1)).unwrap_or(u32::MAX))
}
