//! What must hold of each change of a document, and at any time.

use std::collections::BTreeSet;

use pipeline_lock::lock::{EpochMs, Holder, LockState, Owner, Request, Term, Token, Waiter};

use crate::{
    Real, Verdict, audit::Change, op::short, process::Phase, progress::Standing, scenario::START,
    world::Inner,
};

/// What the claim window is at least, in true time.
const CLAIM_WINDOW: Real = 14_250;

/// A static hold is left alone for two seconds after its time, of a clock that shows whole seconds.
const LEFT_ALONE: Real = 3_500;

/// A revocation is heard with the next renewal, and the work has its grace to end.
const HEARD: Real = 15_000;

impl Inner {
    /// Looks at a change of a document.
    pub fn changed(
        &mut self,
        id: usize,
        lock: usize,
        before: Option<&LockState>,
        after: &LockState,
    ) -> Verdict {
        let none = LockState::new(EpochMs(0));
        let before = before.unwrap_or(&none);
        let nobody = nobody();
        let request = self.processes[id].token.and_then(|token| self.documents.request(token)).cloned();
        let request = &request.unwrap_or(nobody);
        let dead = BTreeSet::new();
        let change = Change { before, after, request, known_dead: &dead, at: self.now };
        let has_unanswered = self.processes[id].has_unanswered || self.processes[id].may_haunt;
        let document = self.documents.lock_mut(lock);
        document.audit.check(&change)?;
        document.order.check(&change, true)?;
        let obsolete = before.queue.iter().filter(|w| change.makes_obsolete(w)).map(|w| w.token);
        document.obsolete.extend(obsolete);
        document.revoked.retain(|token, _| after.holder(*token).is_some());
        let is_watched = |h: &&Holder| matches!(h.term, Term::Live { .. });
        for holder in after.holders.iter().filter(is_watched).filter(|h| h.revoked.is_some()) {
            document.revoked.entry(holder.token).or_insert(self.now);
        }
        for holder in change.granted() {
            if before.holders.iter().any(|h| h.between && h.owner == holder.owner) {
                document.picked_up.insert(holder.token);
            }
            document.fences.insert(holder.token, after.fence_of(holder));
            // Who never heard that it was in the queue comes as a new one; who joins its pipeline's hold is welcome.
            let is_obsolete = document.obsolete.contains(&holder.token);
            if is_obsolete && !has_unanswered && !change.joins(holder) {
                return Err(format!("{:?} is obsolete and did not learn it", holder.token));
            }
        }
        self.nobody_loses_what_it_relies_on(lock, &change)?;
        self.what_stands_for_a_pipeline_stays(id, &change)?;
        for waiter in after.queue.iter().filter(|w| before.waiter(w.token).is_none()) {
            self.waits_for_no_earlier_lock(waiter.token, lock)?;
        }
        let missed = |w: &&Waiter| match after.waiter(w.token) {
            Some(now) => now.missed > w.missed,
            None => w.token != request.token && w.missed > 0 && change.granted().next().is_some(),
        };
        match before.in_order().into_iter().next().filter(missed) {
            Some(head) => self.is_passed_over_with_cause(head.token),
            None => Ok(()),
        }
    }

    /// By the clock of its own host, whatever its rate: a work may run until then.
    fn nobody_loses_what_it_relies_on(&self, lock: usize, change: &Change<'_>) -> Verdict {
        let is_gone = |h: &&Holder| !h.between && change.after.holder(h.token).is_none();
        let (writer, replaced) = (change.request.token, change.request.replaces);
        let others = |h: &&Holder| h.token != writer && Some(h.token) != replaced;
        for holder in change.before.holders.iter().filter(is_gone).filter(others) {
            let until = self.relies_until(holder.token, lock).filter(|until| self.now < *until);
            if let Some(until) = until {
                return Err(format!("{} lost a hold that it relies on until {until}", short(holder.token)));
            }
        }
        Ok(())
    }

    /// What was left standing stands until its time is over, a job of its pipeline goes on with it, or one is through
    /// that ends it. (Who cleans up after a dead keeper takes all away that this one had.)
    fn what_stands_for_a_pipeline_stays(&self, id: usize, change: &Change<'_>) -> Verdict {
        let is_between = |h: &&Holder| h.between && !change.after.holder(h.token).is_some_and(|h| h.between);
        for standing in change.before.holders.iter().filter(is_between) {
            let is_over = matches!(standing.term, Term::Static { until } if until.is_some_and(|u| u.0 < START + self.now));
            let goes_on = change.granted().any(|h| h.owner == standing.owner);
            let is_of_it = change.request.owner == standing.owner;
            let process = &self.processes[id];
            if !(is_over || goes_on || is_of_it && process.may_end_all) {
                return Err(format!("{} ended what {} left standing", process.name, short(standing.token)));
            }
        }
        Ok(())
    }

    /// Who waits for a lock has none that sorts after it, so that no two wait for each other; nor has it left one standing.
    fn waits_for_no_earlier_lock(&self, token: Token, lock: usize) -> Verdict {
        let process = self.documents.process_of(token).map(|id| &self.processes[id]);
        if process.is_none_or(|it| it.has_unanswered || it.may_haunt) {
            return Ok(());
        }
        for later in lock + 1..self.scenario.locks {
            let document = self.documents.lock(later);
            let holder = document.current().and_then(|state| state.holder(token));
            if holder.is_some_and(|h| !(h.between && document.picked_up.contains(&token))) {
                return Err(format!("{} waits for lock-{lock} and has lock-{later}", short(token)));
            }
        }
        Ok(())
    }

    /// Who is well hears soon that it is asked to end.
    fn ends_when_asked(&self, lock: usize) -> Verdict {
        for (token, since) in &self.documents.lock(lock).revoked {
            let Some(id) = self.documents.process_of(*token) else { continue };
            let process = &self.processes[id];
            let is_told = since.max(&process.phase_since).max(&self.well_since(id)) + HEARD;
            if process.phase == Phase::Holding && !process.is_dead && is_told < self.now {
                return Err(format!("{} was asked to end and works on", process.name));
            }
        }
        Ok(())
    }

    /// A head that is well all the time claims in time, and is not passed over. (Who stands behind a dead head can
    /// be: each waits for the head's window from when it saw it, and the later in the queue, the more rarely it looks.)
    fn is_passed_over_with_cause(&self, token: Token) -> Verdict {
        let Some(id) = self.documents.process_of(token) else { return Ok(()) };
        let process = &self.processes[id];
        let is_there = !process.is_dead && process.phase == Phase::Acquiring;
        if is_there && self.well_since(id) + CLAIM_WINDOW <= self.now {
            return Err(format!("{} was well and was passed over", process.name));
        }
        Ok(())
    }

    /// Whether a token has a hold of its own or a place.
    pub fn has_something(&self, token: Token, lock: usize) -> bool {
        let Some(state) = self.documents.lock(lock).current() else { return false };
        state.holder(token).is_some_and(|h| !h.between) || state.waiter(token).is_some()
    }

    /// Whether somebody alive waits for the lock while nobody alive has it.
    pub fn check_progress(&mut self, lock: usize) {
        let Some(state) = self.documents.lock(lock).current() else { return };
        let (now, is_calm) = (self.now, self.is_calm());
        let process = |token| self.documents.process_of(token).map(|id| &self.processes[id]);
        let lives = |token| process(token).is_some_and(|it| !it.is_dead && it.phase != Phase::Over);
        let stands = |until: Option<EpochMs>| until.is_none_or(|u| u.0 + LEFT_ALONE >= START + now);
        let holds = state.holders.iter().any(|h| match h.term {
            Term::Live { .. } => lives(h.token),
            Term::Static { until } => stands(until),
        });
        let asks = |token| process(token).is_some_and(|it| !it.is_dead && it.phase == Phase::Acquiring);
        let head = state.in_order().iter().map(|w| w.token).find(|token| asks(*token));
        let places = state.queue.len() as Real;
        let standing = Standing { is_held: holds, head, places, is_calm };
        let verdict = self.documents.lock_mut(lock).progress.check(&standing, now);
        let verdict = verdict.and_then(|()| self.ends_when_asked(lock));
        self.must(verdict.map_err(|broken| format!("lock-{lock}: {broken}")));
    }

    /// Whether nothing goes wrong in this run at all.
    fn is_calm(&self) -> bool {
        let scenario = &self.scenario;
        scenario.network.is_well()
            && scenario.hosts.iter().all(|h| {
                h.dies.is_none() && h.frozen.is_empty() && h.cut_off.is_empty() && h.refused.is_empty()
            })
            && scenario.jobs.iter().all(|job| job.is_calm())
    }
}

/// The request of an operator, who asks for nothing.
fn nobody() -> Request {
    let token = Token::new(uuid::Uuid::nil());
    Request::new(Owner::alone(token), token, Term::Static { until: None })
}
