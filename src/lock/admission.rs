//! Who gets on with whom: whether the holders of a lock leave room for one more.

use std::collections::BTreeSet;

use super::{Holder, Limit, LockState, Mode, Owner, Request, Token, Waiter};

/// How many entries the holders of one lock can have, members of pipelines counted one by one. An item has
/// room for 400 KB, and each renewal of each holder writes all of it.
pub const MAX_HOLDERS: usize = 100;

impl LockState {
    /// Whether the holders leave room for `request`.
    pub fn admits(&self, request: &Request) -> bool {
        self.leaves_room(&request.owner, request.token, request.mode, request.limit)
    }

    /// Whether the head of the queue could be granted the lock as it is.
    pub fn head_is_ready(&self) -> bool {
        self.in_order().first().is_some_and(|w| self.leaves_room_for(w))
    }

    /// The waiters, from the head on, each of whom could be granted the lock as it is. One behind them may
    /// pass over them if they don't claim, but never over somebody who could not have claimed.
    pub fn ready(&self) -> Vec<&Waiter> {
        self.in_order().into_iter().take_while(|w| self.leaves_room_for(w)).collect()
    }

    fn leaves_room_for(&self, waiter: &Waiter) -> bool {
        self.leaves_room(&waiter.owner, waiter.token, waiter.mode, waiter.limit)
    }

    /// A pipeline's members count as one hold, but each of them has a say on the mode and the limit.
    fn leaves_room(&self, owner: &Owner, token: Token, mode: Mode, limit: Limit) -> bool {
        let is_own = |h: &Holder| h.token == token || (owner.has_members() && h.owner == *owner);
        let others: Vec<&Holder> = self.holders.iter().filter(|h| !is_own(h)).collect();
        let pipelines: BTreeSet<&Owner> =
            others.iter().map(|h| &h.owner).filter(|owner| owner.has_members()).collect();
        let holds = pipelines.len() + others.iter().filter(|h| !h.owner.has_members()).count();
        // A limit of none at all would keep the lock from everyone for ever.
        let smallest = others.iter().map(|h| h.limit).fold(limit, Limit::min).max(Limit(1));
        self.holders.len() < MAX_HOLDERS
            && u32::try_from(holds).is_ok_and(|n| n < smallest.0)
            && others.iter().all(|h| h.mode == mode)
    }

    /// Whether the request's pipeline holds the lock already: a new member goes past the queue.
    pub(super) fn joins(&self, request: &Request) -> bool {
        request.owner.has_members() && self.holders.iter().any(|h| h.owner == request.owner)
    }

    /// Whether somebody in the queue comes before `request`, which may be new.
    pub(super) fn someone_ahead_of(&self, request: &Request) -> bool {
        match self.place(request.token) {
            Some(place) => place > 1,
            None => self.queue.iter().any(|w| w.priority >= request.priority),
        }
    }
}
