//! First come, first served: who came when is kept here, apart from the document's tickets.

use std::collections::BTreeMap;

use pipeline_lock::lock::{self, LockState, Token, Waiter};

use crate::{
    Real, Verdict,
    audit::{Change, Claim, get_on, holding},
};

/// The claim window by the fastest clock.
const SHORTEST_WINDOW: Real = 15_000 * 1000 / 1050;

/// Where a waiter stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// When it came: by count, not by clock.
    arrival: u64,
    /// How many later ones went first by a higher priority.
    overtaken: i32,
}

#[derive(Default)]
pub struct Order {
    places: BTreeMap<Token, Place>,
    arrived: u64,
    /// The highest priority that anyone has asked for.
    highest: i32,
    /// Since when each could claim, and how often it had been passed over by then.
    could_claim: BTreeMap<Token, (u32, Real)>,
}

/// Smaller ones go first: by priority and what it has come to, then the newest, then in order of arrival.
type Turn = (i32, i64);

impl Order {
    /// Checks a change against the order of arrival; `timed` says whether passing needs a claim window.
    pub fn check(&mut self, change: &Change<'_>, timed: bool) -> Verdict {
        self.highest = self.highest.max(change.request.priority);
        self.grants_are_in_turn(change, timed)?;
        self.nobody_is_dropped(change)?;
        self.note_arrivals(change)?;
        self.note_claims(change);
        Ok(())
    }

    fn turn(&self, waiter: &Waiter) -> Turn {
        let place = self.places[&waiter.token];
        turn(waiter.priority + place.overtaken, waiter.order, place.arrival)
    }

    fn grants_are_in_turn(&mut self, change: &Change<'_>, timed: bool) -> Verdict {
        for holder in change.granted().filter(|h| h.reserved.is_none()) {
            if change.joins_late(holder) {
                self.adopt_ageing(change.after);
            }
            if change.joins(holder) || change.takes_hold_over() {
                continue;
            }
            // A retry stands where the try before it stood, with what it asks for now.
            let own = change.before.queue.iter().find(|w| change.is_place_of(w, holder.token, &holder.owner));
            let newcomer = Place { arrival: u64::MAX / 4, overtaken: 0 };
            let place = own.map_or(newcomer, |own| self.places[&own.token]);
            let (arrival, rank) = (place.arrival, change.request.priority + place.overtaken);
            let turn = turn(rank, change.request.order, arrival);
            let is_out = |w: &&Waiter| {
                let is_gone = change.after.waiter(w.token).is_none();
                change.makes_obsolete(w) || change.known_dead.contains(&w.token) && is_gone
            };
            let own = own.map(|own| own.token);
            let others = || change.before.queue.iter().filter(|w| own != Some(w.token) && !is_out(w));
            let ahead: Vec<&Waiter> = others().filter(|w| self.turn(w) < turn).collect();
            if !room_is_left_for(&ahead, change.after) {
                for waiter in ahead {
                    self.is_passed_fairly(waiter, change, timed)?;
                }
            }
            for waiter in others() {
                let place = self.places.get_mut(&waiter.token).ok_or("a waiter without a place")?;
                if place.arrival < arrival && waiter.priority + place.overtaken < rank {
                    place.overtaken += 1;
                    if place.overtaken > self.highest - waiter.priority {
                        return Err(format!("{:?} was overtaken {} times", waiter.token, place.overtaken));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whoever takes up a hold that is over may do so as a member or in its turn: by the document, which ages.
    fn adopt_ageing(&mut self, state: &LockState) {
        for waiter in &state.queue {
            if let Some(place) = self.places.get_mut(&waiter.token) {
                place.overtaken = i32::try_from(waiter.overtaken).unwrap();
            }
        }
    }

    /// Who is passed over had its window, and that is put on record.
    fn is_passed_fairly(&self, waiter: &Waiter, change: &Change<'_>, timed: bool) -> Verdict {
        let token = waiter.token;
        let on_record = match change.after.waiter(token) {
            Some(after) => after.missed == waiter.missed + 1,
            None => waiter.missed >= 1,
        };
        if !on_record {
            return Err(format!("{token:?} was overtaken by {:?} at {}", change.request.token, change.at));
        }
        let waited = self.could_claim.get(&token).map(|(_, since)| change.at - since);
        if waited.is_none_or(|waited| timed && waited < SHORTEST_WINDOW) {
            return Err(format!(
                "{token:?} was passed over after {waited:?} ms by {:?}",
                change.request.token
            ));
        }
        Ok(())
    }

    fn nobody_is_dropped(&self, change: &Change<'_>) -> Verdict {
        for waiter in change.before.queue.iter().filter(|w| change.after.waiter(w.token).is_none()) {
            let token = waiter.token;
            let retried = change.after.queue.iter().map(|w| (&w.owner, w.token));
            let retried = retried.chain(change.after.holders.iter().map(|h| (&h.owner, h.token)));
            let is_retry = |(owner, new): (&_, Token)| {
                new == change.request.token && change.is_place_of(waiter, new, owner)
            };
            let fair = token == change.request.token
                || change.known_dead.contains(&token)
                || change.makes_obsolete(waiter)
                || waiter.missed >= 1 && change.granted().next().is_some()
                || retried.into_iter().any(is_retry);
            if !fair {
                return Err(format!("{token:?} was dropped from the queue by {:?}", change.request.token));
            }
        }
        Ok(())
    }

    fn note_arrivals(&mut self, change: &Change<'_>) -> Verdict {
        for waiter in change.after.queue.iter().filter(|w| change.before.waiter(w.token).is_none()) {
            let old = change.before.queue.iter().find(|w| {
                change.after.waiter(w.token).is_none() && change.is_place_of(w, waiter.token, &waiter.owner)
            });
            let place = match old {
                Some(old) if old.ticket != waiter.ticket => {
                    return Err(format!("{:?} lost the place of {:?}", waiter.token, old.token));
                }
                Some(old) => self.places[&old.token],
                None if change
                    .request
                    .max_queue
                    .is_some_and(|max| change.after.queue.len() > max as usize) =>
                {
                    return Err(format!("{:?} waits behind more than it wants", waiter.token));
                }
                None => {
                    self.arrived += 1;
                    Place { arrival: self.arrived, overtaken: 0 }
                }
            };
            self.places.insert(waiter.token, place);
        }
        let order = change.after.in_order();
        let places: Vec<Turn> = order.iter().map(|w| self.turn(w)).collect();
        if !places.is_sorted() {
            return Err(format!("the queue is out of order: {places:?}"));
        }
        match order.iter().find(|w| i64::from(w.overtaken) != i64::from(self.places[&w.token].overtaken)) {
            Some(w) => Err(format!("{:?} counts {} who went first", w.token, w.overtaken)),
            None => Ok(()),
        }
    }

    fn note_claims(&mut self, change: &Change<'_>) {
        // One who comes and goes at the front may never be seen by those behind: their time goes on.
        self.could_claim
            .retain(|token, _| change.after.waiter(*token).is_some_and(|w| gets_on(w, change.after)));
        for waiter in change.after.in_order().into_iter().take_while(|w| gets_on(w, change.after)) {
            let entry = self.could_claim.entry(waiter.token).or_insert((waiter.missed, change.at));
            if entry.0 != waiter.missed {
                *entry = (waiter.missed, change.at);
            }
        }
    }
}

/// Whether a waiter gets on with those who hold.
fn gets_on(waiter: &Waiter, state: &LockState) -> bool {
    let claims = holding(state).chain([Claim::from(waiter)]);
    state.reservation().is_none() && get_on(&claims.collect::<Vec<_>>())
}

fn turn(rank: i32, order: lock::Order, arrival: u64) -> Turn {
    let arrival = i64::try_from(arrival).unwrap();
    (-rank, if order == lock::Order::Newest { -arrival } else { arrival })
}

/// Whether all of these can still have the lock together, beside those who hold it.
fn room_is_left_for(waiters: &[&Waiter], state: &LockState) -> bool {
    let waiting = waiters.iter().map(|w| Claim::from(*w));
    get_on(&holding(state).chain(waiting).collect::<Vec<_>>())
}
