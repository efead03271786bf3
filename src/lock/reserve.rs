//! Reservations: somebody keeps a lock from everyone, for maintenance.

use super::{Holder, LockState, Request, who::cut};

/// The longest reason that is kept.
const MAX_REASON_BYTES: usize = 200;

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq)]
pub enum Reserving {
    /// It stands.
    Reserved,
    /// It stands in the place of another one.
    Replaced(Box<Holder>),
    /// A newer program wrote the document: it may not be changed.
    Newer,
}

impl LockState {
    /// Keeps the lock from everyone, whoever holds it now: who holds goes on, and nobody else is granted until
    /// the reservation's time is over or its token is released. `request` says who reserves
    /// ([`Owner::reservation`](super::Owner::reservation)) and until when (a static term). There is one
    /// reservation at most: a second one replaces the first. Idempotent.
    pub fn reserve(&mut self, request: &Request, reason: &str) -> Reserving {
        if self.is_newer() {
            return Reserving::Newer;
        }
        let reason = cut(reason, MAX_REASON_BYTES);
        if self.reservation().is_some_and(|h| h.token == request.token) {
            return Reserving::Reserved;
        }
        let old = self.reservation().cloned();
        if let Some(old) = &old {
            self.release(old.token);
        }
        self.grant(request);
        if let Some(holder) = self.holders.last_mut() {
            (holder.slot, holder.reserved) = (0, Some(reason));
        }
        old.map_or(Reserving::Reserved, |old| Reserving::Replaced(Box::new(old)))
    }

    /// The reservation that keeps the lock from everyone.
    pub fn reservation(&self) -> Option<&Holder> {
        self.holders.iter().find(|h| h.reserved.is_some())
    }
}
