//! What may happen to a lock. Each function takes the document from one state to the next and says what
//! came of it; nothing here knows a store or a clock.

use super::{Beat, EpochMs, Fence, Holder, LockState, Outcome, Owner, Request, Standing, Term, Token};

/// How long an item that nobody holds or awaits is kept (30 days): its fencing number goes on from there.
const KEEP_FREE_SECONDS: u64 = 30 * 24 * 3600;

impl LockState {
    /// Asks for the lock, or claims it for somebody who waits already. Idempotent: a holder stays one, a
    /// waiter keeps its place (unless a newer pipeline of its line is there: then it has none any more).
    /// Who may not wait needs no place: that of an older try stays what it is, unless the lock is granted by it.
    pub fn request(&mut self, request: &Request, may_queue: bool) -> Outcome {
        let waits = may_queue || self.waiter(request.token).is_some();
        let untouched = (!waits).then(|| self.queue.clone());
        match (self.ask(request, may_queue), untouched) {
            (Outcome::Queued, Some(queue)) => {
                self.queue = queue;
                Outcome::Busy
            }
            (outcome, _) => outcome,
        }
    }

    fn ask(&mut self, request: &Request, may_queue: bool) -> Outcome {
        if self.take_over(request) {
            return Outcome::Granted;
        }
        if let Some(by) = self.obsolete_by(request) {
            self.leave_obsolete(request, by);
            return Outcome::Obsolete { by };
        }
        let before = self.supersede(request);
        let outcome = self.enter(request, may_queue);
        if let (Outcome::Busy | Outcome::QueueFull(_), Some(before)) = (outcome, before) {
            self.undo(before);
        }
        outcome
    }

    fn enter(&mut self, request: &Request, may_queue: bool) -> Outcome {
        if self.joins(request) {
            if self.admits(request) {
                self.grant(request);
                return Outcome::Granted;
            }
        } else if self.has_its_turn(request) {
            self.overtake(request);
            self.grant(request);
            return Outcome::Granted;
        }
        if self.waiter(request.token).is_some() {
            return Outcome::Queued;
        }
        if !may_queue {
            return Outcome::Busy;
        }
        self.enqueue(request)
    }

    /// Gives back the hold or the place of `token`; false if it has neither.
    pub fn release(&mut self, token: Token) -> bool {
        let before = self.holders.len() + self.queue.len();
        self.keep_fences();
        self.holders.retain(|h| h.token != token);
        self.queue.retain(|w| w.token != token);
        self.holders.len() + self.queue.len() != before
    }

    /// Asks the holder to end its work and to release; false if it holds nothing, was asked already, is a
    /// reservation (that has no work: release it), or if a newer program wrote the document.
    pub fn revoke(&mut self, token: Token, by: &str) -> bool {
        if self.is_newer() {
            return false;
        }
        match self.holders.iter_mut().find(|h| h.token == token) {
            Some(holder) if holder.revoked.is_none() && holder.reserved.is_none() => {
                holder.revoked = Some(by.to_owned());
                true
            }
            _ => false,
        }
    }

    /// Counts a renewal of `token`; false if it is no live holder. Each one moves the beat on, also one that
    /// arrives late or twice: a holder counts its lease from the renewal that it sent, so a waiter must see
    /// that something came. The revision moves on too, so that no swap that saw the older beat takes effect.
    pub fn renew(&mut self, token: Token, beat: Beat) -> bool {
        if let Some(holder) = self.holders.iter_mut().find(|h| h.token == token)
            && let Term::Live { beat: last, .. } = &mut holder.term
        {
            *last = beat.max(last.next());
            self.rev = self.rev.next();
            return true;
        }
        false
    }

    /// Removes a live holder that stood still at `beat`; false if it has moved on or is no more.
    pub fn evict(&mut self, token: Token, beat: Beat) -> bool {
        let dead =
            |h: &Holder| h.token == token && matches!(h.term, Term::Live { beat: last, .. } if last == beat);
        self.holders.iter().any(dead) && self.release(token)
    }

    /// Removes the static holds whose time is over by the store's clock `now`, and returns them.
    pub fn expire(&mut self, now: EpochMs) -> Vec<Holder> {
        let over = |h: &Holder| matches!(h.term, Term::Static { until: Some(until) } if now > until);
        let expired: Vec<Holder> = self.holders.iter().filter(|h| over(h)).cloned().collect();
        for holder in &expired {
            self.release(holder.token);
        }
        expired
    }

    /// How `token` of `owner` stands.
    pub fn standing(&self, token: Token, owner: &Owner) -> Standing {
        match self.holder(token) {
            Some(Holder { revoked: Some(by), .. }) => Standing::Revoked { by: by.clone() },
            Some(_) => Standing::Held,
            None if self.is_taken_over(token, owner) => Standing::Superseded,
            None => Standing::Lost,
        }
    }

    /// Whether a newer incarnation of the same job holds or waits in the stead of `token`.
    pub fn is_taken_over(&self, token: Token, owner: &Owner) -> bool {
        self.tries_of(owner).any(|other| other != token)
    }

    /// The tokens that a job has here; those of a pipeline's members are no tries of the same thing.
    pub(super) fn tries_of<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = Token> + 'a {
        let holders = self.holders.iter().map(|h| (&h.owner, h.token));
        let waiters = self.queue.iter().map(|w| (&w.owner, w.token));
        let is_own = move |of: &Owner| of == owner && !owner.has_members();
        holders.chain(waiters).filter(move |(of, _)| is_own(of)).map(|(_, token)| token)
    }

    /// Finishes a change: the next revision, and the mark that lets DynamoDB delete an item which nobody
    /// holds or awaits, or will when the time of its static holds is over (and no other).
    pub fn seal(&mut self, now: EpochMs) {
        self.rev = self.rev.next();
        self.mark_expiry(now);
    }

    /// Nobody may come any more to what was left standing: so its end counts, too.
    fn mark_expiry(&mut self, now: EpochMs) {
        let ends = |holder: &Holder| match holder.term {
            Term::Static { until } => until,
            Term::Live { .. } => None,
        };
        let last = self.holders.iter().map(ends).try_fold(now, |last, end| Some(last.max(end?)));
        let over = last.filter(|_| self.queue.is_empty());
        self.expires_at = over.map(|at| at.0 / 1000 + KEEP_FREE_SECONDS);
    }

    /// What a first write makes of a lock that is absent (`None`) or free: this state, going on from the
    /// numbers, the lines and the unknown attributes that are there. Its holder has the document's fencing number.
    #[must_use]
    pub fn over_free(mut self, existing: Option<&Self>, seed: EpochMs) -> Self {
        let base = existing.cloned().unwrap_or_else(|| Self::new(seed));
        self.rev = base.rev.next();
        self.fence = base.fence.next();
        (self.newest, self.extra) = (base.newest, base.extra);
        for holder in &mut self.holders {
            holder.fence = None;
        }
        self.mark_expiry(seed);
        self
    }

    /// Gives the hold or the place of an older try to `request`; true if it holds the lock (also by itself).
    pub(super) fn take_over(&mut self, request: &Request) -> bool {
        if self.is_held_by(request.token) || self.take_over_hold(request) {
            return true;
        }
        self.take_over_place(request);
        false
    }

    /// The old try's hold ends, and goes on in the new one, reserved or not. If that asks for more than there
    /// is room for, it gets none of it.
    pub(super) fn take_over_hold(&mut self, request: &Request) -> bool {
        let old = request.replaces.and_then(|token| self.holder(token));
        let Some(old) = old.filter(|h| h.owner == request.owner).cloned() else { return false };
        self.release(old.token);
        if !self.has_room_for(request) {
            return false;
        }
        let slot = self.slot_for(request, Some(old.slot));
        self.grant(request);
        if let Some(holder) = self.holders.last_mut() {
            (holder.slot, holder.revoked) = (slot, old.revoked);
        }
        true
    }

    pub(super) fn grant(&mut self, request: &Request) {
        self.keep_fences();
        self.supersede(request);
        self.queue.retain(|w| w.token != request.token);
        self.fence = self.fence.next();
        let slot = self.slot_for(request, None);
        self.holders.retain(|h| !(h.between && h.owner == request.owner));
        self.holders.push(Holder { slot, ..Holder::granted(request, Some(self.fence)) });
        self.expires_at = None;
    }

    /// A holder of a first write has the document's fencing number: it gets it in writing before that moves.
    fn keep_fences(&mut self) {
        for holder in &mut self.holders {
            holder.fence = Some(holder.fence.unwrap_or(self.fence));
        }
    }
}

impl Holder {
    /// The hold that grants `request`, in the first slot.
    pub fn granted(request: &Request, fence: Option<Fence>) -> Self {
        Self {
            owner: request.owner.clone(),
            token: request.token,
            fence,
            mode: request.mode,
            limit: request.limit,
            slot: 0,
            line: request.line.clone(),
            term: request.term,
            since: request.since,
            who: request.who.bounded(),
            revoked: None,
            reserved: None,
            between: false,
            extra: super::Map::new(),
        }
    }
}
