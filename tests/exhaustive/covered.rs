//! What happened on the way: a search that never gets to what can go wrong shows nothing.

use pipeline_lock::lock::Holder;

use crate::model::{Phase, State, client_of};

/// How many steps there were of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Covered {
    pub crashes: usize,
    /// Tries after a crash.
    pub retries: usize,
    /// Late writes that took effect though nobody waited for them any more.
    pub ghosts: usize,
    /// Who was passed over, or lost its place by that, as it did not claim.
    pub passed_over: usize,
    /// Holds that ended though their clients did not give them back.
    pub evictions: usize,
}

impl Covered {
    pub fn count(&mut self, before: &State, after: &State) {
        let both = || before.clients.iter().zip(&after.clients);
        let is_written = before.document.as_ref().map(|d| d.rev) != after.document.as_ref().map(|d| d.rev);
        self.crashes += usize::from(both().any(|(b, a)| b.phase != Phase::Dead && a.phase == Phase::Dead));
        self.retries += usize::from(both().any(|(b, a)| a.tries > b.tries));
        self.ghosts += usize::from(is_written && after.ghosts.len() < before.ghosts.len());
        if is_written {
            self.passed_over += usize::from(passes_over(before, after));
            self.evictions += usize::from(evicts(before, after));
        }
    }
}

fn passes_over(before: &State, after: &State) -> bool {
    let (Some(old), Some(new)) = (&before.document, &after.document) else { return false };
    old.queue.iter().any(|w| new.waiter(w.token).is_some_and(|now| now.missed > w.missed))
}

/// A client that is dead gives nothing back: its hold goes by another's hand.
fn evicts(before: &State, after: &State) -> bool {
    let (Some(old), Some(new)) = (&before.document, &after.document) else { return false };
    let is_dead = |h: &&Holder| {
        let (client, tries) = client_of(h.token);
        before.clients[client].phase == Phase::Dead && before.clients[client].tries == tries
    };
    old.holders.iter().filter(is_dead).any(|h| new.holder(h.token).is_none())
}
