//! Whether what a client tells its keeper is so.

use std::time::Duration;

use pipeline_lock::{
    client::{AcquireError, Clock, Hold, Loss, ReleaseError},
    lock::Moment,
};

use crate::{Real, Verdict, job::Keeper, op::short};

/// In so long a renewal is due, is sent, and is answered.
const A_RENEWAL: Real = 12_000;

/// A release is tried again until so shortly before the hold's deadline.
const A_PAUSE: Duration = Duration::from_millis(2_500);

impl Keeper {
    /// Whether this is a good reason not to get a lock.
    pub fn is_fair(&self, failure: &AcquireError, waited: Duration) -> Verdict {
        let inner = self.process.world.look();
        let waited_out = waited + Duration::from_millis(1) >= self.job.wait;
        let is_patient = self.job.wait >= Duration::from_secs(3000);
        let fair = match failure {
            AcquireError::TimedOut { .. } => waited_out && !is_patient,
            AcquireError::Busy { .. } => waited_out,
            AcquireError::QueueFull { .. } => self.job.max_queue.is_some(),
            AcquireError::Superseded { .. } => {
                inner.documents.requests_of(&self.request.owner).any(|other| other.token != self.token())
            }
            AcquireError::Obsolete { .. } => self.job.line.is_some(),
            AcquireError::Store { .. } => inner.well_since(self.process.id) > 0,
            AcquireError::OutOfOrder { .. } | AcquireError::Crowded { .. } | AcquireError::Newer { .. } => {
                false
            }
        };
        if fair { Ok(()) } else { Err(format!("{} got: {failure}", short(self.token()))) }
    }

    /// Nobody takes a hold from somebody who could still prove it.
    pub fn is_lost_fairly(&self, loss: &Option<Loss>, holds: &[Hold]) -> Verdict {
        let now = Clock::now(&self.process);
        let is_gone = |hold: &Hold| matches!(hold.status().loss(), Some(Loss::Gone | Loss::Superseded));
        let proven = |hold: &Hold| hold.deadline().is_some_and(|deadline| now < deadline);
        match holds.iter().find(|hold| is_gone(hold) && proven(hold)) {
            Some(hold) => {
                Err(format!("{} lost {} before its deadline: {loss:?}", short(self.token()), hold.name()))
            }
            None if matches!(loss, Some(Loss::Expiring { .. })) && self.could_renew() => {
                Err(format!("{} was well and did not renew: {loss:?}", short(self.token())))
            }
            None => Ok(()),
        }
    }

    /// Who is over has nothing left, unless a write of it is still on its way, or the store was away
    /// while it looked for one that came late.
    pub fn nothing_is_left(&self, parted: Real) {
        let mut inner = self.process.world.look();
        let id = self.process.id;
        let state = &inner.processes[id];
        if state.in_flight > 0 || state.may_haunt || inner.well_since(id) > parted {
            return;
        }
        for number in &self.job.wants {
            if inner.has_something(self.token(), *number) {
                let error = format!("{} is over and left something on lock-{number}", short(self.token()));
                inner.must(Err(error));
            }
        }
        drop(inner);
        self.process.world.ring_if_broken();
    }

    /// Whether nothing was in the way of a renewal.
    fn could_renew(&self) -> bool {
        let inner = self.process.world.look();
        inner.well_since(self.process.id) + A_RENEWAL <= inner.now
    }

    /// What could not be given back ends with its lease; but while it may last it is tried again, unless the store
    /// refuses.
    pub fn notes<T>(&self, given: Result<T, ReleaseError>, deadline: Option<Moment>) {
        let Err(error) = given else { return };
        self.tell(|| error.to_string());
        let now = Clock::now(&self.process);
        let is_early = deadline.is_some_and(|deadline| now.plus(A_PAUSE) < deadline);
        if error.error.is_passing() && is_early {
            self.process.world.must(Err(format!("{} gave up early: {error}", short(self.token()))));
        }
        self.process.world.look().processes[self.process.id].may_haunt = true;
    }
}
