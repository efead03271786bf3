//! Who gets on with whom: whether the holders of a lock leave room for one more.

use super::{Holder, Limit, LockState, Mode, Owner, Request, Token};

impl LockState {
    /// Whether the holders leave room for `request`.
    pub fn admits(&self, request: &Request) -> bool {
        self.leaves_room(&request.owner, request.token, request.mode, request.limit)
    }

    /// Whether the head of the queue could be granted the lock as it is.
    pub fn head_is_ready(&self) -> bool {
        self.in_order().first().is_some_and(|w| self.leaves_room(&w.owner, w.token, w.mode, w.limit))
    }

    fn leaves_room(&self, owner: &Owner, token: Token, mode: Mode, limit: Limit) -> bool {
        let mut others: Vec<&Holder> = Vec::new();
        for holder in &self.holders {
            let own = holder.token == token || (owner.has_members() && holder.owner == *owner);
            let counted = holder.owner.has_members() && others.iter().any(|o| o.owner == holder.owner);
            if !own && !counted {
                others.push(holder);
            }
        }
        let smallest = others.iter().map(|h| h.limit).fold(limit, Limit::min);
        let room = u32::try_from(others.len()).is_ok_and(|n| n < smallest.0);
        room && others.iter().all(|h| h.mode == mode)
    }

    /// Whether the request's pipeline holds the lock already: a new member goes past the queue.
    pub(super) fn joins(&self, request: &Request) -> bool {
        request.owner.has_members() && self.holders.iter().any(|h| h.owner == request.owner)
    }

    pub(super) fn someone_ahead_of(&self, request: &Request) -> bool {
        self.place(request.token).map_or(!self.queue.is_empty(), |place| place > 1)
    }
}
