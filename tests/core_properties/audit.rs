//! What holds of every change of the document, whoever made it.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_lock::lock::{Beat, Fence, Holder, Line, LockState, Mode, Owner, Request, Term, Token, Waiter};

use crate::{LEASE, Real, Verdict};

/// A change of the document.
pub struct Change<'a> {
    pub before: &'a LockState,
    pub after: &'a LockState,
    /// What whoever made it asks for.
    pub request: &'a Request,
    /// Whose processes somebody knows to be dead.
    pub known_dead: &'a BTreeSet<Token>,
    pub at: Real,
}

impl Change<'_> {
    /// The holders that it adds.
    pub fn granted(&self) -> impl Iterator<Item = &Holder> {
        self.after.holders.iter().filter(|h| is_new(self.before, h))
    }

    /// Whether the place of `waiter` is one that `token` of `owner` has or takes over: a retry does so, a
    /// pipeline's member only from the try that it names.
    pub fn is_place_of(&self, waiter: &Waiter, token: Token, owner: &Owner) -> bool {
        waiter.token == token
            || waiter.owner == *owner && (!owner.has_members() || self.request.replaces == Some(waiter.token))
    }

    /// Whether the pipeline of `holder`, which it adds, held already and goes on.
    pub fn joins(&self, holder: &Holder) -> bool {
        let goes_on = |h: &Holder| h.between || self.after.holder(h.token).is_some();
        let is_own = |h: &&Holder| holder.owner.has_members() && h.owner == holder.owner;
        self.before.holders.iter().filter(is_own).any(goes_on)
    }

    /// Whether what the pipeline of `holder` left standing was over when it was taken up.
    pub fn joins_late(&self, holder: &Holder) -> bool {
        let now = crate::scenario::START + self.at;
        let is_over =
            |h: &Holder| matches!(h.term, Term::Static { until: Some(until) } if h.between && now > until.0);
        self.before.holders.iter().any(|h| h.owner == holder.owner && is_over(h))
    }

    /// Whether it takes the place of `waiter` because its own pipeline is a newer one of that line.
    pub fn makes_obsolete(&self, waiter: &Waiter) -> bool {
        let got_in = self.after.holder(self.request.token).is_some()
            || self.after.waiter(self.request.token).is_some();
        got_in && self.after.waiter(waiter.token).is_none() && is_newer(&self.request.line, &waiter.line)
    }

    /// Whether it takes a hold over from an older try.
    pub fn takes_hold_over(&self) -> bool {
        self.request
            .replaces
            .is_some_and(|old| self.before.holder(old).is_some() && self.after.holder(old).is_none())
    }
}

/// A hold's part in who gets on with whom.
#[derive(Clone, Debug)]
pub struct Claim {
    pub owner: Owner,
    pub token: Token,
    pub mode: Mode,
    pub limit: u32,
}

impl From<&Waiter> for Claim {
    fn from(w: &Waiter) -> Self {
        Self { owner: w.owner.clone(), token: w.token, mode: w.mode, limit: w.limit.0 }
    }
}

impl From<&Holder> for Claim {
    fn from(h: &Holder) -> Self {
        Self { owner: h.owner.clone(), token: h.token, mode: h.mode, limit: h.limit.0 }
    }
}

/// Those who hold the lock; who reserves it does not.
pub fn holding(state: &LockState) -> impl Iterator<Item = Claim> + '_ {
    state.holders.iter().filter(|h| h.reserved.is_none()).map(Claim::from)
}

/// Whether these may hold together.
pub fn get_on(claims: &[Claim]) -> bool {
    let name = |c: &Claim| {
        if c.owner.has_members() { c.owner.to_string() } else { c.token.to_string() }
    };
    let holds: BTreeSet<String> = claims.iter().map(name).collect();
    let one_mode = claims.windows(2).all(|pair| pair[0].mode == pair[1].mode);
    let fits = claims.iter().all(|c| holds.len() <= c.limit.max(1) as usize);
    holds.len() <= 1 || (one_mode && fits)
}

fn ends_by_itself(state: &LockState) -> bool {
    let ends = |h: &Holder| matches!(h.term, Term::Static { until: Some(_) });
    state.queue.is_empty() && state.holders.iter().all(ends)
}

/// Remembers what earlier documents said.
#[derive(Default)]
pub struct Audit {
    last_fence: Option<Fence>,
    /// When each live holder's beat was first there.
    pub beats: BTreeMap<Token, (Beat, Real)>,
}

impl Audit {
    pub fn check(&mut self, change: &Change<'_>) -> Verdict {
        if change.after.rev <= change.before.rev {
            return Err(format!("revision {} follows {}", change.after.rev, change.before.rev));
        }
        if ends_by_itself(change.after) != change.after.expires_at.is_some() {
            return Err("only what is free, or will be by itself, may expire".into());
        }
        self.fences(change)?;
        self.removals(change)?;
        entries_are_single(change.after)?;
        let claims: Vec<Claim> = holding(change.after).collect();
        if !get_on(&claims) {
            return Err(format!("these hold together: {claims:?}"));
        }
        slots_are_apart(change)?;
        nobody_obsolete_gets_in(change)?;
        a_reservation_keeps_others_out(change)?;
        self.note_beats(change);
        Ok(())
    }

    fn fences(&mut self, change: &Change<'_>) -> Verdict {
        for holder in &change.after.holders {
            let fence = change.after.fence_of(holder);
            match change.before.holder(holder.token).filter(|_| !is_new(change.before, holder)) {
                Some(old) if change.before.fence_of(old) != fence => {
                    return Err(format!("the fence of {:?} has changed", holder.token));
                }
                Some(_) => {}
                None if self.last_fence.is_some_and(|last| fence <= last) => {
                    return Err(format!("fence {fence} was granted after {:?}", self.last_fence));
                }
                None => self.last_fence = Some(fence),
            }
        }
        Ok(())
    }

    /// Nobody loses a hold but by its own hand, by its retry, or by being dead or over.
    fn removals(&self, change: &Change<'_>) -> Verdict {
        for holder in change.before.holders.iter().filter(|h| change.after.holder(h.token).is_none()) {
            let token = holder.token;
            let silent = |since: Real| change.at - since >= u64::try_from(LEASE.as_millis()).unwrap();
            let fair = token == change.request.token
                || change.known_dead.contains(&token)
                || holder.between && change.granted().any(|h| h.owner == holder.owner)
                || holder.reserved.is_some() && change.after.reservation().is_some()
                || change.takes_hold_over() && change.request.replaces == Some(token)
                || match holder.term {
                    Term::Live { .. } => self.beats.get(&token).is_some_and(|(_, since)| silent(*since)),
                    Term::Static { until } => {
                        until.is_some_and(|until| crate::scenario::START + change.at > until.0)
                    }
                };
            if !fair {
                return Err(format!(
                    "{token:?} lost its hold to {:?} at {}",
                    change.request.token, change.at
                ));
            }
        }
        Ok(())
    }

    fn note_beats(&mut self, change: &Change<'_>) {
        self.beats.retain(|token, _| change.after.holder(*token).is_some());
        let granted: Vec<Token> = change.granted().map(|h| h.token).collect();
        let is_new = |holder: &Holder| granted.contains(&holder.token);
        for holder in &change.after.holders {
            if let Term::Live { beat, .. } = holder.term
                && self.beats.get(&holder.token).is_none_or(|(last, _)| *last != beat || is_new(holder))
            {
                self.beats.insert(holder.token, (beat, change.at));
            }
        }
    }
}

/// Whether `before` has no such hold. Who left one standing for its pipeline holds anew when it asks again.
fn is_new(before: &LockState, holder: &Holder) -> bool {
    before.holder(holder.token).is_none_or(|old| old.between && !holder.between)
}

fn entries_are_single(state: &LockState) -> Verdict {
    let tokens: Vec<Token> =
        state.holders.iter().map(|h| h.token).chain(state.queue.iter().map(|w| w.token)).collect();
    let jobs: Vec<&Owner> = state.queue.iter().map(|w| &w.owner).filter(|o| !o.has_members()).collect();
    if tokens.iter().collect::<BTreeSet<_>>().len() != tokens.len() {
        return Err("a token is there twice".into());
    }
    let alone = |kept: &Holder| state.holders.iter().filter(|h| h.owner == kept.owner).count() == 1;
    if !state.holders.iter().filter(|h| h.between).all(alone) {
        return Err("a hold stands for its pipeline's next job, and one is there".into());
    }
    if jobs.iter().collect::<BTreeSet<_>>().len() != jobs.len() {
        return Err("a job is queued twice".into());
    }
    Ok(())
}

/// Each hold has a slot of its own, below its limit; a pipeline's members share one.
fn slots_are_apart(change: &Change<'_>) -> Verdict {
    let holders: Vec<&Holder> = change.after.holders.iter().filter(|h| h.reserved.is_none()).collect();
    for (i, one) in holders.iter().enumerate() {
        if one.slot >= one.limit.0.max(1) {
            return Err(format!("{:?} has slot {} of {}", one.token, one.slot, one.limit.0));
        }
        for other in &holders[..i] {
            let same_hold = one.owner.has_members() && one.owner == other.owner;
            if same_hold != (one.slot == other.slot) {
                return Err(format!(
                    "{:?} and {:?} have slots {} and {}",
                    one.token, other.token, one.slot, other.slot
                ));
            }
        }
    }
    for holder in &change.after.holders {
        let old = change.before.holder(holder.token).filter(|_| !is_new(change.before, holder));
        if old.is_some_and(|old| old.slot != holder.slot) {
            return Err(format!("the slot of {:?} has changed", holder.token));
        }
    }
    Ok(())
}

/// Whether `line` is a newer pipeline of the same line as `other`.
fn is_newer(line: &Option<Line>, other: &Option<Line>) -> bool {
    match (line, other) {
        (Some(line), Some(other)) => line.key == other.key && line.pipeline > other.pipeline,
        _ => false,
    }
}

/// Nobody waits or is let in while a newer pipeline of its line is there, but a member of a pipeline that holds.
fn nobody_obsolete_gets_in(change: &Change<'_>) -> Verdict {
    let state = change.after;
    let lines = || state.holders.iter().map(|h| &h.line).chain(state.queue.iter().map(|w| &w.line));
    let holds = |owner: &Owner| owner.has_members() && state.holders.iter().any(|h| h.owner == *owner);
    let left_word = |w: &Waiter| state.newest.iter().any(|line| is_newer(&Some(line.clone()), &w.line));
    let is_told = |w: &Waiter| left_word(w) || change.known_dead.contains(&w.token);
    if let Some(w) = change.before.queue.iter().find(|w| change.makes_obsolete(w) && !is_told(w)) {
        return Err(format!("{:?} is not told that it is obsolete", w.token));
    }
    let is_obsolete = |line| lines().any(|other| is_newer(other, line));
    // Who waited while its pipeline held learns it at its next look, or at that of the newer one.
    let waits_still = |w: &Waiter| w.owner.has_members() && change.before.waiter(w.token).is_some();
    let waits = state.queue.iter().filter(|w| !holds(&w.owner) && !waits_still(w));
    if let Some(w) = waits.into_iter().find(|w| is_obsolete(&w.line)) {
        return Err(format!("{:?} waits for what is obsolete", w.token));
    }
    let let_in = change.granted().find(|h| is_obsolete(&h.line) && !change.joins(h));
    match let_in.filter(|_| !change.takes_hold_over()) {
        Some(h) => Err(format!("{:?} was granted what is obsolete", h.token)),
        None => Ok(()),
    }
}

/// Nobody gets in under a reservation but a pipeline's next member and a retry of one who holds.
fn a_reservation_keeps_others_out(change: &Change<'_>) -> Verdict {
    if change.after.reservation().is_none() {
        return Ok(());
    }
    let gets_in = |h: &&Holder| h.reserved.is_none() && !change.joins(h) && !change.takes_hold_over();
    match change.granted().find(gets_in) {
        Some(h) => Err(format!("{:?} was granted a lock that is reserved", h.token)),
        None => Ok(()),
    }
}
