//! First come, first served: who came when is kept here, apart from the document's tickets.

use std::collections::BTreeMap;

use pipeline_lock::lock::{LockState, Token, Waiter};

use crate::{
    Real, Verdict,
    audit::{Change, Claim, get_on},
};

/// The claim window by the fastest clock.
const SHORTEST_WINDOW: Real = 15_000 * 1000 / 1050;

#[derive(Default)]
pub struct Order {
    /// When each waiter came: by count, not by clock.
    arrivals: BTreeMap<Token, u64>,
    arrived: u64,
    /// Since when each could claim, and how often it had been passed over by then.
    could_claim: BTreeMap<Token, (u32, Real)>,
}

impl Order {
    /// Checks a change against the order of arrival; `timed` says whether passing needs a claim window.
    pub fn check(&mut self, change: &Change<'_>, timed: bool) -> Verdict {
        self.grants_are_in_turn(change, timed)?;
        self.nobody_is_dropped(change)?;
        self.note_arrivals(change)?;
        self.note_claims(change);
        Ok(())
    }

    fn turn(&self, waiter: &Waiter) -> (i32, u64) {
        (-waiter.priority, self.arrivals[&waiter.token])
    }

    fn grants_are_in_turn(&self, change: &Change<'_>, timed: bool) -> Verdict {
        for holder in change.granted() {
            let joins =
                holder.owner.has_members() && change.before.holders.iter().any(|h| h.owner == holder.owner);
            if joins || change.takes_hold_over() {
                continue;
            }
            // A retry stands where the try before it stood.
            let own = change.before.waiter(holder.token).or_else(|| {
                change.before.queue.iter().find(|w| {
                    w.owner == holder.owner && (!w.owner.has_members() || Some(w.token) == change.replaces)
                })
            });
            let turn = own.map_or((-change.priority, u64::MAX), |own| self.turn(own));
            for waiter in change.before.queue.iter().filter(|w| self.turn(w) < turn) {
                self.is_passed_fairly(waiter, change, timed)?;
            }
        }
        Ok(())
    }

    /// Who is passed over had its window, and that is put on record.
    fn is_passed_fairly(&self, waiter: &Waiter, change: &Change<'_>, timed: bool) -> Verdict {
        let token = waiter.token;
        let on_record = match change.after.waiter(token) {
            Some(after) => after.missed == waiter.missed + 1,
            None if change.known_dead.contains(&token) => return Ok(()),
            None => waiter.missed >= 1,
        };
        if !on_record {
            return Err(format!("{token:?} was overtaken by {:?} at {}", change.by, change.at));
        }
        let waited = self.could_claim.get(&token).map(|(_, since)| change.at - since);
        if waited.is_none_or(|waited| timed && waited < SHORTEST_WINDOW) {
            return Err(format!("{token:?} was passed over after {waited:?} ms by {:?}", change.by));
        }
        Ok(())
    }

    fn nobody_is_dropped(&self, change: &Change<'_>) -> Verdict {
        for waiter in change.before.queue.iter().filter(|w| change.after.waiter(w.token).is_none()) {
            let token = waiter.token;
            let retried = change.after.queue.iter().map(|w| (&w.owner, w.token));
            let retried = retried.chain(change.after.holders.iter().map(|h| (&h.owner, h.token)));
            let is_retry = |(owner, new): (&_, Token)| {
                *owner == waiter.owner
                    && new == change.by
                    && (!waiter.owner.has_members() || change.replaces == Some(token))
            };
            let fair = token == change.by
                || change.known_dead.contains(&token)
                || waiter.missed >= 1 && change.granted().next().is_some()
                || retried.into_iter().any(is_retry);
            if !fair {
                return Err(format!("{token:?} was dropped from the queue by {:?}", change.by));
            }
        }
        Ok(())
    }

    fn note_arrivals(&mut self, change: &Change<'_>) -> Verdict {
        for waiter in change.after.queue.iter().filter(|w| change.before.waiter(w.token).is_none()) {
            let old = change.before.queue.iter().find(|w| {
                w.owner == waiter.owner
                    && change.after.waiter(w.token).is_none()
                    && (!w.owner.has_members() || Some(w.token) == change.replaces)
            });
            let arrival = match old {
                Some(old) if old.ticket != waiter.ticket => {
                    return Err(format!("{:?} lost the place of {:?}", waiter.token, old.token));
                }
                Some(old) => self.arrivals[&old.token],
                None => {
                    self.arrived += 1;
                    self.arrived
                }
            };
            self.arrivals.insert(waiter.token, arrival);
        }
        let places: Vec<(i32, u64)> = change.after.in_order().into_iter().map(|w| self.turn(w)).collect();
        if places.is_sorted() { Ok(()) } else { Err(format!("the queue is out of order: {places:?}")) }
    }

    fn note_claims(&mut self, change: &Change<'_>) {
        let able = could_claim(change.after);
        self.could_claim.retain(|token, _| able.iter().any(|w| w.token == *token));
        for waiter in able {
            let entry = self.could_claim.entry(waiter.token).or_insert((waiter.missed, change.at));
            if entry.0 != waiter.missed {
                *entry = (waiter.missed, change.at);
            }
        }
    }
}

/// The waiters at the front that each get on with those who hold.
fn could_claim(state: &LockState) -> Vec<&Waiter> {
    let with = |w: &Waiter| {
        let claim = Claim { owner: w.owner.clone(), token: w.token, mode: w.mode, limit: w.limit.0 };
        let mut claims: Vec<Claim> = state.holders.iter().map(Claim::from).collect();
        claims.push(claim);
        get_on(&claims)
    };
    state.in_order().into_iter().take_while(|w| with(w)).collect()
}
