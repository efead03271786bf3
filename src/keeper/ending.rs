//! What is to come of a job that ends.

use super::{
    links::Link,
    protocol::{Farewell, Tell},
};
use crate::host::process::ProcId;

/// How many processes are named to those who wait for their end.
const MOST_NAMES: usize = 5;

/// One ending under way.
pub(super) struct Ending {
    /// What comes after the job's processes.
    pub(super) then: Then,
    /// Who waits for it.
    pub(super) callers: Vec<Link>,
    /// What there will be to tell.
    pub(super) farewell: Farewell,
    /// What there is to tell while the store does not take the locks back.
    pub(super) slow: Option<Farewell>,
    /// Whether it was told that some of the job's processes can't be ended.
    told_of_stubborn: bool,
}

/// What comes after the job's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The locks are given back, and the keeper ends.
    Release,
    /// The locks are given back, and every stage is refused until cleanup.
    ReleaseAndRefuse,
    /// The locks stay for the next try of the same job, and the keeper ends.
    Yield,
    /// The locks stay until cleanup; every stage is refused.
    Refuse,
}

impl Ending {
    pub(super) fn new(then: Then, caller: Option<Link>) -> Self {
        Self {
            then,
            callers: caller.into_iter().collect(),
            farewell: Farewell::default(),
            slow: None,
            told_of_stubborn: false,
        }
    }

    /// Those who wait are told, once, why it takes so long: of these processes, which can't be ended.
    pub(super) fn tell_of_stubborn(&mut self, left: &[ProcId]) {
        if left.is_empty() || self.told_of_stubborn {
            return;
        }
        self.told_of_stubborn = true;
        let name = |id: &ProcId| format!("{} ({})", id.command().unwrap_or_default(), id.pid.get());
        let names: Vec<String> = left.iter().take(MOST_NAMES).map(name).collect();
        let message = format!(
            "{} processes of the job can't be ended: {}; they are another user's, or hang in the kernel. The lock stays \
             until they are gone: end them by hand",
            left.len(),
            names.join(", ")
        );
        let told = Tell::Notice { message, calm: false };
        self.callers.iter().for_each(|caller| caller.tell(&told));
    }

    /// Those who wait are told how far it is, and need not wait any longer, if the store does not answer.
    pub(super) fn tell_if_slow(&mut self) {
        let Some(slow) = &self.slow else { return };
        let told = Tell::Ended(slow.clone());
        self.callers.drain(..).for_each(|caller| caller.tell(&told));
    }

    /// Whether the locks go to somebody else after it.
    pub(super) const fn gives_back(&self) -> bool {
        !matches!(self.then, Then::Refuse)
    }

    /// prepare was told to stop waiting.
    pub(super) fn leaving(caller: Link) -> Self {
        Self::new(Then::Release, Some(caller))
    }

    /// A newer try of the job takes over.
    pub(super) fn yielding(caller: Link) -> Self {
        Self::new(Then::Yield, Some(caller))
    }

    /// cleanup was called.
    pub(super) fn cleaning(caller: Link) -> Self {
        Self::new(Then::Release, Some(caller))
    }

    /// Nobody waits for it.
    pub(super) fn silently() -> Self {
        Self::new(Then::Release, None)
    }

    /// The runner has left the job.
    pub(super) fn of_an_orphan() -> Self {
        Self::new(Then::Release, None)
    }

    /// The job can't go on; its runner will call cleanup.
    pub(super) fn of_the_job() -> Self {
        Self::new(Then::Refuse, None)
    }
}
