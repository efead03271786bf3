//! The queue of a lock: who gets which place, and who loses it.

use super::{LockState, Outcome, Request, Ticket, Token, Waiter, codec};

/// How large the queue may grow, in the bytes that DynamoDB counts: an item has room for 400 KB.
pub const MAX_QUEUE_BYTES: usize = 300 * 1024;

/// How often a waiter that does not claim is passed over before it is out.
const MISSES_ALLOWED: u32 = 2;

impl LockState {
    /// Passes over all who are ahead of `request` in the queue and did not claim; who was passed over twice
    /// is out. The caller then requests.
    pub fn pass_over(&mut self, request: &Request) {
        let Some(place) = self.place(request.token) else { return };
        let ahead: Vec<Token> = self.in_order()[..place - 1].iter().map(|w| w.token).collect();
        for waiter in self.queue.iter_mut().filter(|w| ahead.contains(&w.token)) {
            waiter.missed += 1;
        }
        self.queue.retain(|w| w.missed < MISSES_ALLOWED);
        if self.holder(request.token).is_none() && self.admits(request) {
            self.grant(request);
        }
    }

    /// A job is queued once: its new try takes the place of the old one. (A hold is taken over only with
    /// proof that the old try's processes are dead; a place has no processes.)
    pub(super) fn take_over_place(&mut self, request: &Request) {
        let is_own = |w: &&mut Waiter| w.owner == request.owner && !request.owner.has_members();
        if let Some(waiter) = self.queue.iter_mut().find(is_own)
            && waiter.token != request.token
        {
            waiter.token = request.token;
            waiter.missed = 0;
        }
    }

    pub(super) fn enqueue(&mut self, request: &Request) -> Outcome {
        let ticket = self.queue.iter().map(|w| w.ticket.next()).max().unwrap_or(Ticket(0));
        let waiter = Waiter {
            owner: request.owner.clone(),
            token: request.token,
            ticket: ticket.max(Ticket(self.rev.0)),
            mode: request.mode,
            limit: request.limit,
            priority: request.priority,
            since: request.since,
            missed: 0,
            who: request.who.shortened(),
            extra: super::Map::new(),
        };
        if codec::queue_size(&self.queue) + codec::waiter_size(&waiter) > MAX_QUEUE_BYTES {
            return Outcome::QueueFull;
        }
        self.queue.push(waiter);
        Outcome::Queued
    }
}
