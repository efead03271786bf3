//! What a waiter does next: one pure step from what it sees to what it writes or how long it waits.

use std::time::Duration;

use super::{EpochMs, Full, Holder, LockState, Moment, Outcome, Owner, Request, Term, Token, Watch};

/// What a waiter knows besides the document.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Now, on this host's own clock.
    pub now: Moment,
    /// Now, by the store's clock: it judges static holds.
    pub store_now: EpochMs,
    /// Tokens of this host whose processes are known to be dead: their holds end at once, their places when
    /// they keep others waiting.
    pub gone: &'a [Token],
    /// Whether the request may wait.
    pub may_queue: bool,
    /// Whether the request has been in the queue, by any document that `watch` has observed.
    pub was_queued: bool,
}

/// The store's clock comes from its replies, in whole seconds: a static hold ends this much later.
const STATIC_MARGIN: Duration = Duration::from_secs(2);

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The request holds the lock already. Of a live hold whose grant was never answered it is not known how
    /// old it is: its lease counts from a renewal that is sent now.
    Hold,
    /// Write `next`, conditioned on what was seen. If that takes effect, `outcome` is what came of the request.
    Write {
        /// The document to write, sealed.
        next: Box<LockState>,
        /// What comes of it.
        outcome: Outcome,
        /// Who is removed by it, and why.
        removed: Vec<Removal>,
    },
    /// Look again after this time.
    Wait(Duration),
    /// It would have to wait and may not.
    Busy,
    /// The queue is at its limit.
    QueueFull(Full),
    /// A newer pipeline of the same line has taken the place, or holds the lock or waits for it.
    Obsolete {
        /// The newer pipeline's number.
        by: u64,
    },
    /// A newer try of the same job has taken the place.
    Superseded,
    /// A newer program wrote the document: it may not be changed.
    Newer,
}

/// Somebody who loses a hold by another's hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// The hold.
    pub holder: Holder,
    /// Why.
    pub why: RemovalReason,
}

/// Why a hold was ended by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// Its lease ran out without a renewal.
    LeaseOver,
    /// Its processes on this host are dead.
    Dead,
    /// Its time was over.
    Expired,
    /// Somebody took it by force.
    Forced,
}

impl LockState {
    /// Removes the static holds whose time is over for whoever asks for the lock when the store's clock shows
    /// `store_now`, and returns them.
    pub fn end_overdue(&mut self, store_now: EpochMs) -> Vec<Holder> {
        self.expire(EpochMs(store_now.0.saturating_sub(millis(STATIC_MARGIN))))
    }
}

/// The next step of `request` after it saw `current`, which `watch` has observed (as every other document
/// before it, the replies to one's own writes too). `wall` is the wall clock,
/// for the mark of a lock that becomes free.
pub fn plan(current: &LockState, request: &Request, watch: &Watch, sight: Sight<'_>, wall: EpochMs) -> Plan {
    if current.is_held_by(request.token) {
        return Plan::Hold;
    }
    if current.is_newer() {
        return Plan::Newer;
    }
    if sight.was_queued && watch.is_newest(current) && current.waiter(request.token).is_none() {
        let by = current.superseded_by(request);
        // A hold may be that of a try before this one, which is not known to be dead: so the line goes before.
        match by.filter(|_| !current.queue.iter().any(|w| is_another_try(request, &w.owner, w.token))) {
            Some(by) => return Plan::Obsolete { by },
            None if is_retried(current, request) => return Plan::Superseded,
            None => {}
        }
    }
    let mut next = current.clone();
    let place = current.place(request.token).unwrap_or(current.queue.len() + 1);
    // First: nobody clears away what an older try of this request has left to it.
    let is_held = if sight.may_queue { next.take_over(request) } else { next.take_over_hold(request) };
    let removed = if is_held { Vec::new() } else { clear_the_way(&mut next, request, watch, sight, place) };
    let passes = current.waiter(request.token).is_some() && watch.may_pass_over(place, sight.now);
    let mut outcome = next.request(request, sight.may_queue);
    if outcome == Outcome::Queued {
        if passes && next.pass_over(request) {
            outcome = Outcome::Granted;
        } else {
            next.answer(request.token);
        }
    }
    if next == *current {
        return match outcome {
            Outcome::Busy => Plan::Busy,
            // What an older document shows may be over: a swap would find out, and there is none.
            Outcome::QueueFull(full) if watch.is_newest(current) => Plan::QueueFull(full),
            Outcome::Obsolete { by } if watch.is_newest(current) => Plan::Obsolete { by },
            Outcome::Granted | Outcome::Queued | Outcome::QueueFull(_) | Outcome::Obsolete { .. } => {
                Plan::Wait(next_look(current, watch, sight, place))
            }
        };
    }
    next.seal(wall);
    Plan::Write { next: Box::new(next), outcome, removed }
}

/// Whether a try of the same job that is not the one before is there.
fn is_retried(current: &LockState, request: &Request) -> bool {
    current.tries_of(&request.owner).any(|token| is_another_try(request, &request.owner, token))
}

fn is_another_try(request: &Request, owner: &Owner, token: Token) -> bool {
    let is_older = token == request.token || Some(token) == request.replaces;
    *owner == request.owner && !owner.has_members() && !is_older
}

/// Ends the holds that are over: by death, by lease, by time, by force.
fn clear_the_way(
    next: &mut LockState,
    request: &Request,
    watch: &Watch,
    sight: Sight<'_>,
    place: usize,
) -> Vec<Removal> {
    let mut removed = Vec::new();
    let mut remove =
        |holder: Option<Holder>, why| removed.extend(holder.map(|holder| Removal { holder, why }));
    for token in sight.gone {
        // A static hold has no processes: what a job left standing for its pipeline outlives it.
        let is_live = |h: &&Holder| matches!(h.term, Term::Live { .. });
        if let Some(holder) = next.holder(*token).filter(is_live).cloned() {
            next.release(*token);
            remove(Some(holder), RemovalReason::Dead);
        }
    }
    for (token, beat) in watch.dead(place, sight.now) {
        let holder = next.holder(token).cloned();
        if next.evict(token, beat) {
            remove(holder, RemovalReason::LeaseOver);
        }
    }
    for holder in next.end_overdue(sight.store_now) {
        remove(Some(holder), RemovalReason::Expired);
    }
    for holder in force(next, request, sight.store_now) {
        remove(Some(holder), RemovalReason::Forced);
    }
    clear_dead_heads(next, sight.gone);
    removed
}

/// A dead waiter loses its place once it keeps others from the lock, and not before: its retry may come.
fn clear_dead_heads(next: &mut LockState, gone: &[Token]) {
    while next.head_is_ready() {
        let head = next.in_order().first().map(|w| w.token);
        match head.filter(|token| gone.contains(token)) {
            Some(token) => next.release(token),
            None => return,
        };
    }
}

/// `--force-after`: takes static holds of that age, and asks live ones to end. A reservation stands. No more are forced
/// than is needed: where there is room for the request, or will be when those have ended who were asked before,
/// nobody is; of several the younger are spared, and of those the ones that work.
fn force(next: &mut LockState, request: &Request, store_now: EpochMs) -> Vec<Holder> {
    let Some(age) = request.force_after else { return Vec::new() };
    let has_room_without = |some: &[Holder]| {
        let mut left = next.clone();
        left.holders.retain(|h| h.revoked.is_none() && !some.iter().any(|other| other.token == h.token));
        left.request(request, false) == Outcome::Granted
    };
    if has_room_without(&[]) {
        return Vec::new();
    }
    let is_old = |h: &&Holder| {
        let is_others = h.reserved.is_none() && h.revoked.is_none() && h.owner != request.owner;
        is_others && store_now.since(h.since) >= age
    };
    let mut old: Vec<Holder> = next.holders.iter().filter(is_old).cloned().collect();
    old.sort_by_key(|h| (matches!(h.term, Term::Live { .. }), h.since));
    if has_room_without(&old) {
        for spared in (0..old.len()).rev() {
            let others = [&old[..spared], &old[spared + 1..]].concat();
            if has_room_without(&others) {
                old = others;
            }
        }
    }
    let (taken, live): (Vec<Holder>, Vec<Holder>) =
        old.into_iter().partition(|h| matches!(h.term, Term::Static { .. }));
    for holder in &taken {
        next.release(holder.token);
    }
    let by = format!("--force-after {}s of {}", age.as_secs(), forcer(request));
    for holder in &live {
        next.revoke(holder.token, &by);
    }
    taken
}

/// Who it is that forces, for those who are forced: outside of CI the owner is a token, which tells nobody anything.
fn forcer(request: &Request) -> String {
    match (&request.owner, request.who.user.as_str(), request.who.host.as_str()) {
        (owner, ..) if *owner != Owner::alone(request.token) => owner.to_string(),
        (owner, "", "") => owner.to_string(),
        (_, "", host) => format!("somebody on {host}"),
        (_, user, "") => user.to_owned(),
        (_, user, host) => format!("{user} on {host}"),
    }
}

fn next_look(current: &LockState, watch: &Watch, sight: Sight<'_>, place: usize) -> Duration {
    let expiry = current.holders.iter().filter_map(|h| match h.term {
        Term::Static { until: Some(until) } => {
            Some(until.plus(STATIC_MARGIN).since(sight.store_now) + Duration::from_millis(100))
        }
        _ => None,
    });
    expiry.fold(watch.next_look(place, sight.now), Duration::min)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
