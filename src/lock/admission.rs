//! Who gets on with whom: whether the holders of a lock leave room for one more, and which slot it gets.

use std::collections::BTreeSet;

use super::{Holder, Limit, LockState, Mode, Owner, Request, Token, Waiter};

/// How many entries the holders of one lock can have, members of pipelines counted one by one. An item has
/// room for 400 KB, and each renewal of each holder writes all of it.
pub const MAX_HOLDERS: usize = 100;

/// What somebody takes of a lock's room, or asks for.
#[derive(Clone, Copy)]
struct Part<'a> {
    owner: &'a Owner,
    token: Token,
    mode: Mode,
    limit: Limit,
    /// The slot of one who works under its hold: it can't be another one any more.
    slot: Option<u32>,
}

impl Part<'_> {
    /// Whether this is the same hold as `other`: the same one, or another member of its pipeline.
    fn is_of(&self, other: &Part<'_>) -> bool {
        self.token == other.token || (other.owner.has_members() && self.owner == other.owner)
    }
}

impl<'a> From<&'a Holder> for Part<'a> {
    fn from(h: &'a Holder) -> Self {
        let slot = (!h.between).then_some(h.slot);
        Self { owner: &h.owner, token: h.token, mode: h.mode, limit: h.limit, slot }
    }
}

impl<'a> From<&'a Waiter> for Part<'a> {
    fn from(w: &'a Waiter) -> Self {
        Self { owner: &w.owner, token: w.token, mode: w.mode, limit: w.limit, slot: None }
    }
}

impl<'a> From<&'a Request> for Part<'a> {
    fn from(r: &'a Request) -> Self {
        Self { owner: &r.owner, token: r.token, mode: r.mode, limit: r.limit, slot: None }
    }
}

/// The room that those who hold a lock leave. A reservation takes none.
struct Room<'a>(Vec<Part<'a>>);

impl<'a> Room<'a> {
    fn beside(holders: &'a [Holder]) -> Self {
        Self(holders.iter().filter(|h| h.reserved.is_none()).map(Part::from).collect())
    }

    /// A pipeline's members count as one hold, but each of them has a say on the mode and the limit.
    fn is_there_for(&self, part: &Part<'_>) -> bool {
        let (own, others): (Vec<&Part<'_>>, Vec<&Part<'_>>) = self.0.iter().partition(|p| p.is_of(part));
        let pipelines: BTreeSet<&Owner> =
            others.iter().map(|p| p.owner).filter(|owner| owner.has_members()).collect();
        let holds = pipelines.len() + others.iter().filter(|p| !p.owner.has_members()).count();
        let smallest = others.iter().map(|p| p.limit).fold(part.limit, Limit::min);
        // A member can't have a slot of its own, and a limit that was lowered does not reach those who work.
        let slot_fits = own
            .iter()
            .filter(|p| p.token != part.token)
            .all(|p| p.slot.is_none_or(|s| s < places(part.limit)));
        self.0.len() < MAX_HOLDERS
            && u32::try_from(holds).is_ok_and(|n| n < places(smallest))
            && others.iter().all(|p| p.mode == part.mode)
            && slot_fits
    }
}

/// How many a limit admits: one of none at all would keep the lock from everyone for ever.
fn places(limit: Limit) -> u32 {
    limit.0.max(1)
}

impl LockState {
    /// Whether the holders leave room for `request`. A reservation leaves none, but to those whose pipeline
    /// holds already.
    pub fn admits(&self, request: &Request) -> bool {
        (self.reservation().is_none() || self.joins(request)) && self.has_room_for(request)
    }

    /// Whether the holders leave room for `request`, reserved or not.
    pub(super) fn has_room_for(&self, request: &Request) -> bool {
        Room::beside(&self.holders).is_there_for(&request.into())
    }

    /// Whether the head of the queue could be granted the lock as it is.
    pub fn head_is_ready(&self) -> bool {
        !self.ready().is_empty()
    }

    /// The waiters, from the head on, each of whom could be granted the lock as it is. One behind them may
    /// pass over them if they don't claim, but never over somebody who could not have claimed.
    pub fn ready(&self) -> Vec<&Waiter> {
        if self.reservation().is_some() {
            return Vec::new();
        }
        let room = Room::beside(&self.holders);
        self.in_order().into_iter().take_while(|w| room.is_there_for(&(*w).into())).collect()
    }

    /// Whether `request` may have the lock now: there is room for it beside those who hold and all who come
    /// before it. So free slots are claimed by as many at once, and nobody takes one from somebody ahead.
    pub(super) fn has_its_turn(&self, request: &Request) -> bool {
        if self.reservation().is_some() {
            return false;
        }
        let mut room = Room::beside(&self.holders);
        for waiter in self.ahead_of(request) {
            if !room.is_there_for(&waiter.into()) {
                return false;
            }
            room.0.push(waiter.into());
        }
        room.is_there_for(&request.into())
    }

    /// The slot that a grant to `request` gets: its pipeline's, or `kept` if it may have that, or the smallest
    /// that nobody has. Where there is room it lies below the request's limit: fewer hold than that.
    pub(super) fn slot_for(&self, request: &Request, kept: Option<u32>) -> u32 {
        let is_own = |h: &&Holder| request.owner.has_members() && h.owner == request.owner;
        if let Some(member) = self.holders.iter().filter(is_own).find(|h| !h.between) {
            return member.slot;
        }
        let left = self.holders.iter().find(is_own).map(|h| h.slot);
        let taken: BTreeSet<u32> =
            self.holders.iter().filter(|h| h.reserved.is_none() && !is_own(h)).map(|h| h.slot).collect();
        let may_have = |slot: &u32| *slot < places(request.limit) && !taken.contains(slot);
        kept.or(left).filter(may_have).or_else(|| (0..).find(|slot| !taken.contains(slot))).unwrap_or(0)
    }

    /// Whether the request's pipeline holds the lock already: a new member goes past the queue.
    pub(super) fn joins(&self, request: &Request) -> bool {
        request.owner.has_members() && self.holders.iter().any(|h| h.owner == request.owner)
    }
}
