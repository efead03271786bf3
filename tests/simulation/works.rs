//! The work of the jobs: who really runs, until when, and beside whom.

use std::sync::Arc;

use pipeline_lock::lock::{Fence, Moment, Token};
use tokio::sync::Notify;

use crate::{
    GRACE, LEASE, Real, Verdict,
    audit::{Claim, get_on},
    op::short,
    scenario::START,
    world::Inner,
};

/// How much earlier than the lease all processes of the work are to be dead.
const BEFORE_THE_LEASE: Real = 1_000;

/// How much later than that they are at the latest.
const SLOW_DEATH: Real = 900;

/// How long it takes at the most until a work has ended whose keeper was killed.
const ABANDONED: Real = 500;

#[derive(Default)]
pub struct Works(pub Vec<Work>);

/// One job's work.
pub struct Work {
    /// The process of its keeper: its host and clock are the work's.
    pub keeper: usize,
    pub host: usize,
    /// What it takes of which locks, with which fencing number.
    pub parts: Vec<Part>,
    /// The file that the keeper writes: until when each hold is proven.
    pub deadlines: Vec<Option<Moment>>,
    pub ends: Real,
    pub is_doomed: bool,
    pub has_ended: bool,
    pub changed: Arc<Notify>,
    pub over: Arc<Notify>,
}

/// A work's part of one lock.
#[derive(Clone, Debug)]
pub struct Part {
    pub lock: usize,
    pub claim: Claim,
    pub fence: Fence,
    pub slot: u32,
    /// The name in the trace.
    pub name: String,
    /// How it ends when nobody watches over it: by the store's clock.
    pub until: Option<u64>,
}

impl Works {
    pub fn host_dies(&mut self, host: usize, now: Real) {
        for work in self.0.iter_mut().filter(|work| work.host == host && !work.is_static()) {
            work.ends = work.ends.min(now);
            work.changed.notify_one();
        }
    }
}

impl Work {
    /// Nobody watches over it.
    pub fn is_static(&self) -> bool {
        self.parts.iter().any(|part| part.until.is_some())
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadlines.iter().flatten().min().copied()
    }
}

impl Inner {
    /// The true time at which the clock of a work's host is so many milliseconds before its deadline.
    pub fn before_the_deadline(&self, work: usize, span: Real) -> Option<Real> {
        let deadline = self.works.0[work].deadline()?;
        let span = std::time::Duration::from_millis(span);
        Some(self.plan(self.works.0[work].keeper).clock.real(Moment(deadline.0.saturating_sub(span))))
    }

    /// The true time until which the work of `token` relies on its hold, as was written down last.
    pub fn relies_until(&self, token: Token, lock: usize) -> Option<Real> {
        let is_part = |part: &Part| part.lock == lock && part.claim.token == token;
        let has_part = |work: &&Work| work.parts.iter().any(is_part);
        let work = self.works.0.iter().rfind(has_part)?;
        let number = work.parts.iter().position(is_part)?;
        Some(self.plan(work.keeper).clock.real(work.deadlines[number]?))
    }

    /// Nobody relies on a hold for longer than a lease after the grant or renewal took effect that proves it.
    pub fn relies_on_what_is_proven(&self, work: usize) -> Verdict {
        let work = &self.works.0[work];
        for (part, deadline) in work.parts.iter().zip(&work.deadlines) {
            let proof = self.documents.lock(part.lock).audit.beats.get(&part.claim.token);
            let (Some(deadline), Some((_, at))) = (deadline, proof) else { continue };
            let lease_ends = self.plan(work.keeper).clock.moment(*at).plus(LEASE);
            if *deadline > lease_ends {
                let (name, lock) = (&part.name, part.lock);
                return Err(format!("{name} relies on lock-{lock} until {deadline:?}, not {lease_ends:?}"));
            }
        }
        Ok(())
    }

    /// Whether any of its processes runs now. At the moment of a thaw a switch that is due has acted.
    fn is_running(&self, work: usize) -> bool {
        let it = &self.works.0[work];
        if let Some(until) = it.parts.iter().find_map(|part| part.until) {
            return !it.has_ended && START + self.now <= until;
        }
        let frozen = &self.scenario.hosts[it.host].frozen;
        let is_frozen = frozen.iter().any(|window| window.contains(&self.now));
        let thaws = frozen.iter().any(|window| window.end == self.now);
        let is_due = self.before_the_deadline(work, BEFORE_THE_LEASE).is_some_and(|at| at <= self.now);
        let is_over = it.has_ended || it.ends <= self.now || thaws && is_due;
        !is_over && !is_frozen
    }

    /// Those who run now get on, each in a slot of its own.
    pub fn check_runs(&self) -> Verdict {
        let running: Vec<&Work> = (0..self.works.0.len())
            .filter(|work| self.is_running(*work))
            .map(|work| &self.works.0[work])
            .collect();
        for lock in 0..self.scenario.locks {
            let parts: Vec<&Part> =
                running.iter().flat_map(|work| &work.parts).filter(|part| part.lock == lock).collect();
            let claims: Vec<Claim> = parts.iter().map(|part| part.claim.clone()).collect();
            let names = || parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
            if !get_on(&claims) {
                return Err(format!("on lock-{lock} these run together: {}", names()));
            }
            for (i, one) in parts.iter().enumerate() {
                let same = |other: &&&Part| other.slot == one.slot && !is_same_hold(one, other);
                if parts[..i].iter().any(|other| same(&other)) {
                    return Err(format!("on lock-{lock} one slot is used twice: {}", names()));
                }
            }
        }
        Ok(())
    }

    /// Each is the one that the store has granted, and greater than those of all who held before and could not have held beside it.
    pub fn fences_grow(&self, parts: &[Part]) -> Verdict {
        for part in parts {
            let granted = self.documents.lock(part.lock).fences.get(&part.claim.token);
            if granted != Some(&part.fence) {
                return Err(format!("{} has fence {}, was granted {granted:?}", part.name, part.fence));
            }
            let earlier = self.works.0.iter().flat_map(|work| &work.parts).filter(|p| p.lock == part.lock);
            for other in earlier {
                let beside = get_on(&[other.claim.clone(), part.claim.clone()]);
                if other.fence == part.fence || !beside && other.fence > part.fence {
                    return Err(format!(
                        "{} has fence {} of lock-{} after {} had {}",
                        part.name, part.fence, part.lock, other.name, other.fence
                    ));
                }
            }
        }
        Ok(())
    }

    /// From now on it ends by itself within the grace, and before the lease in any case.
    pub fn term(&mut self, work: usize, kill_at_once: bool) {
        if std::mem::replace(&mut self.works.0[work].is_doomed, true) {
            return;
        }
        let now = self.now;
        let slow = if self.rng.u32(0..4) == 0 { SLOW_DEATH } else { 0 };
        let last = self.before_the_deadline(work, BEFORE_THE_LEASE - slow).unwrap_or(now + GRACE_MS);
        let last = if kill_at_once { last.min(now + ABANDONED) } else { last.min(now + GRACE_MS) }.max(now);
        let stubborn = self.rng.u32(0..3) == 0;
        let ends = if stubborn { last } else { self.rng.u64(now..=last) };
        let work = &mut self.works.0[work];
        work.ends = work.ends.min(ends);
        work.changed.notify_one();
    }
}

pub const GRACE_MS: Real = GRACE.as_millis() as Real;

/// Whether both are members of one pipeline's hold.
fn is_same_hold(one: &Part, other: &Part) -> bool {
    one.claim.token == other.claim.token
        || one.claim.owner.has_members() && one.claim.owner == other.claim.owner
}

/// How a part is called in the trace.
pub fn name(part: &Claim) -> String {
    format!("{} of {}", short(part.token), part.owner)
}
