//! Who is served before whom. There is no clock in it: a waiter's priority grows with each later one that goes
//! first by a higher one.

use std::cmp::Reverse;

use super::{LockState, Order, Request, Ticket, Token, Waiter};

/// Where somebody stands; the smallest one is served first.
type Turn = (Reverse<i64>, bool, u64);

/// Higher ranks first. Among equals, who asked to be served newest first stands before all others, the newest
/// at the very front; the others stand in the order in which they came.
fn turn(rank: i64, order: Order, ticket: Ticket) -> Turn {
    match order {
        Order::Newest => (Reverse(rank), false, u64::MAX - ticket.0),
        Order::First => (Reverse(rank), true, ticket.0),
    }
}

impl Waiter {
    /// The priority that it has come to: so a difference of d lets d later ones go first at most.
    pub fn rank(&self) -> i64 {
        i64::from(self.priority) + i64::from(self.overtaken)
    }

    fn turn(&self) -> Turn {
        turn(self.rank(), self.order, self.ticket)
    }
}

impl LockState {
    /// The waiters in the order in which they are served: by priority, which grows with each later one that
    /// goes first by its priority; then newest first for those who asked for that, then first come, first
    /// served.
    pub fn in_order(&self) -> Vec<&Waiter> {
        let mut order: Vec<&Waiter> = self.queue.iter().collect();
        order.sort_by_key(|w| w.turn());
        order
    }

    /// The place of `token` among the waiters; the head has place 1.
    pub fn place(&self, token: Token) -> Option<usize> {
        self.in_order().iter().position(|w| w.token == token).map(|i| i + 1)
    }

    /// Who in the queue comes before `request`, which may be new, in order.
    pub(super) fn ahead_of(&self, request: &Request) -> Vec<&Waiter> {
        let mut ahead = self.in_order();
        let own = ahead.iter().position(|w| w.token == request.token);
        let (rank, ticket, order) = self.stands(request);
        ahead
            .truncate(own.unwrap_or_else(|| ahead.partition_point(|w| w.turn() < turn(rank, order, ticket))));
        ahead
    }

    /// Notes that `request` goes first now: those who came before it and have a lower rank come nearer to it.
    pub(super) fn overtake(&mut self, request: &Request) {
        let (rank, ticket, _) = self.stands(request);
        for waiter in self.queue.iter_mut().filter(|w| w.ticket < ticket && w.rank() < rank) {
            waiter.overtaken = waiter.overtaken.saturating_add(1);
        }
    }

    /// The rank, ticket and order of a request: those of its place, or those of the last one to come.
    fn stands(&self, request: &Request) -> (i64, Ticket, Order) {
        match self.waiter(request.token) {
            Some(own) => (own.rank(), own.ticket, own.order),
            None => (i64::from(request.bounded_priority()), Ticket(u64::MAX), request.order),
        }
    }
}
