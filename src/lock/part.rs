//! How the jobs of a pipeline go: each gives its own part of the hold back, and the last one may leave it
//! standing for the next.

use std::time::Duration;

use super::{EpochMs, Holder, LockState, Owner, Term, Token};

impl LockState {
    /// Gives back what `token` has, as [`LockState::release`] does, with two differences for a pipeline's
    /// member:
    /// - with `linger` (now, by the store's clock, and for how long), the last member that holds leaves the
    ///   hold standing for the pipeline's next job, as a static one that nobody works under;
    /// - without, it ends such a standing hold of its pipeline too.
    ///
    /// A member that was asked to end leaves nothing standing. False, and nothing changes, if there is nothing
    /// to give back or the hold is left standing already.
    pub fn part(&mut self, token: Token, linger: Option<(EpochMs, Duration)>) -> bool {
        let Some(holder) = self.holder(token).cloned() else { return self.release(token) };
        let Some((now, span)) = linger else {
            self.release(token);
            self.holders.retain(|h| !(h.between && h.owner == holder.owner));
            return true;
        };
        if holder.between {
            return false;
        }
        let is_last = !self.holders.iter().any(|h| h.owner == holder.owner && h.token != token);
        if !(is_last && holder.owner.has_members()) || holder.revoked.is_some() || self.is_newer() {
            return self.release(token);
        }
        if let Some(holder) = self.holders.iter_mut().find(|h| h.token == token) {
            holder.term = Term::Static { until: Some(now.plus(span)) };
            holder.between = true;
        }
        true
    }

    /// Gives back the hold or the place of `token`, of a request that was given up. What it has left standing for its
    /// pipeline was left on purpose, and stays. False if there is nothing to give back.
    pub fn take_back(&mut self, token: Token) -> bool {
        let stands = self.holder(token).is_some_and(|h| h.between);
        !stands && self.release(token)
    }

    /// Ends all holds of `owner`, or only those that nobody works under (static ones, and what
    /// [`LockState::part`] left standing), and returns them. Places in the queue stay.
    pub fn release_all(&mut self, owner: &Owner, static_only: bool) -> Vec<Holder> {
        let ends = |h: &&Holder| h.owner == *owner && !(static_only && matches!(h.term, Term::Live { .. }));
        let ended: Vec<Holder> = self.holders.iter().filter(ends).cloned().collect();
        for holder in &ended {
            self.release(holder.token);
        }
        ended
    }
}
