//! The queue of a lock: who gets which place, and who loses it.

use super::{LockState, Outcome, Request, Ticket, Token, Waiter, codec};

/// How large the queue may grow, in the bytes that DynamoDB counts: an item has room for 400 KB, of which the
/// holders need up to 130.
pub const MAX_QUEUE_BYTES: usize = 256 * 1024;

/// Why a queue takes nobody more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The lock's item has no room for one more.
    Bytes,
    /// So many wait as the request said that may.
    Count(u32),
}

/// How often a waiter that does not claim is passed over before it is out.
const MISSES_ALLOWED: u32 = 2;

impl LockState {
    /// Grants the lock to `request` over the heads of all who are ahead of it in the queue and did not
    /// claim; who is passed over twice is out. False, and nothing changes, if it is not in the queue, if it
    /// or somebody ahead of it could not be granted the lock (who can't claim has missed nothing), or if it
    /// joins its pipeline and passes over nobody.
    pub fn pass_over(&mut self, request: &Request) -> bool {
        let ready: Vec<Token> = self.ready().iter().map(|w| w.token).collect();
        let Some(place) = ready.iter().position(|token| *token == request.token) else { return false };
        if !self.admits(request) || self.joins(request) {
            return false;
        }
        for waiter in self.queue.iter_mut().filter(|w| ready[..place].contains(&w.token)) {
            waiter.missed = waiter.missed.saturating_add(1);
        }
        self.queue.retain(|w| w.missed < MISSES_ALLOWED);
        self.overtake(request);
        self.grant(request);
        true
    }

    /// A waiter that looks is alive: what it missed (a late look, a slow store) counts no more. So only who
    /// stays away is put out.
    pub fn answer(&mut self, token: Token) {
        if let Some(waiter) = self.queue.iter_mut().find(|w| w.token == token) {
            waiter.missed = 0;
        }
    }

    /// A job is queued once: its new try takes the place of the old one, and the place says what the new one
    /// asks for. A pipeline has one place for each member: there only the named one is taken over. (A hold
    /// is taken over only with proof that the old try's processes are dead; a place has no processes.)
    pub(super) fn take_over_place(&mut self, request: &Request) {
        let is_old = |w: &Waiter| {
            w.owner == request.owner && (!w.owner.has_members() || Some(w.token) == request.replaces)
        };
        let own = self.queue.iter().position(|w| w.token == request.token);
        let Some(waiter) = own.or_else(|| self.queue.iter().position(is_old)).map(|i| &mut self.queue[i])
        else {
            return;
        };
        if waiter.token != request.token {
            waiter.token = request.token;
            waiter.who = request.who.shortened();
            waiter.missed = 0;
        }
        (waiter.mode, waiter.limit, waiter.priority) =
            (request.mode, request.limit, request.bounded_priority());
        (waiter.order, waiter.line) = (request.order, request.line.clone());
    }

    pub(super) fn enqueue(&mut self, request: &Request) -> Outcome {
        if let Some(max) = request.max_queue.filter(|max| self.queue.len() >= *max as usize) {
            return Outcome::QueueFull(Full::Count(max));
        }
        let ticket = self.queue.iter().map(|w| w.ticket.next()).max().unwrap_or(Ticket(0));
        let waiter = Waiter {
            owner: request.owner.clone(),
            token: request.token,
            ticket: ticket.max(Ticket(self.rev.0)),
            mode: request.mode,
            limit: request.limit,
            priority: request.bounded_priority(),
            overtaken: 0,
            order: request.order,
            line: request.line.clone(),
            since: request.since,
            missed: 0,
            who: request.who.shortened(),
            extra: super::Map::new(),
        };
        if codec::queue_size(&self.queue) + codec::waiter_size(&waiter) > MAX_QUEUE_BYTES {
            return Outcome::QueueFull(Full::Bytes);
        }
        self.queue.push(waiter);
        Outcome::Queued
    }
}
