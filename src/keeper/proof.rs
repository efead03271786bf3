//! The proof that the job still has its locks: what becomes of it while the store does not answer, and when it is lost.

use std::time::Duration;

use tracing::warn;

use super::{
    protocol::Tell,
    service::{Event, Service},
};
use crate::{
    client::{Hold, HoldStatus, Loss, humane},
    config::OnLost,
    host::clock::BootTime,
    lock::Moment,
};

impl Service {
    /// Hears of each hold what becomes of it.
    pub(super) fn watch_holds(&self) {
        for hold in &self.holds {
            let (watcher, events) = (hold.watcher(), self.events.clone());
            let (lock, margin) = (hold.name().to_string(), self.launch.terms.kill_grace);
            let mut later = hold.watch();
            tokio::spawn(async move {
                loop {
                    let loss = watcher.clone().lost(margin).await;
                    let may_come_back = matches!(loss, Loss::Expiring { .. });
                    if events.send(Event::Lost { lock: lock.clone(), loss }).is_err() || !may_come_back {
                        return;
                    }
                    // Of use to a job that goes on: a renewal that succeeds after all proves the hold anew.
                    if later.wait_for(|status| is_proven(status, margin)).await.is_err() {
                        return;
                    }
                }
            });
            let (mut status, events) = (hold.watch(), self.events.clone());
            tokio::spawn(async move {
                while status.changed().await.is_ok() && events.send(Event::Renewed).is_ok() {}
            });
            let (mut trouble, events) = (hold.trouble(), self.events.clone());
            let lock = hold.name().to_string();
            tokio::spawn(async move {
                while trouble.changed().await.is_ok() {
                    let trouble = trouble.borrow_and_update().clone();
                    if events.send(Event::Trouble { lock: lock.clone(), trouble }).is_err() {
                        return;
                    }
                }
            });
        }
    }

    /// Writes down until when all holds are proven, for the stage that watches over the keeper. A job that goes on
    /// without its locks has no such time.
    pub(super) fn note_deadline(&self) {
        let deadline = proven_until(&self.holds);
        self.estate.note_deadline(deadline.filter(|_| self.launch.terms.on_lost == OnLost::Stop));
    }

    /// A renewal has succeeded, or a hold was lost.
    pub(super) fn renewed(&mut self) {
        self.note_deadline();
        self.thaw_if_proven();
    }

    /// The store does not answer a renewal, or answers again.
    pub(super) fn trouble(&self, lock: &str, trouble: Option<String>) {
        match trouble {
            Some(trouble) => {
                let left = proven_until(&self.holds).map(|deadline| {
                    BootTime::from_boot(deadline.0)
                        .before(self.launch.terms.kill_grace)
                        .since(BootTime::now())
                });
                let then = match (self.launch.terms.on_lost, left) {
                    (OnLost::Stop, Some(left)) => {
                        format!("; the job is ended in {} unless that changes", humane(left))
                    }
                    _ => String::new(),
                };
                self.say(false, format!("lock {lock} can't be renewed now ({trouble}), trying on{then}"));
            }
            None => self.say(true, format!("lock {lock} is renewed again")),
        }
    }

    /// Whether each lock is proven now, and for as long as it takes to end the job. A keeper that was stopped may hear what
    /// a stage asks before it hears that its lease is over.
    pub(super) fn may_begin(&self) -> bool {
        let margin = self.launch.terms.kill_grace;
        self.launch.terms.on_lost != OnLost::Stop
            || self.holds.iter().all(|hold| is_proven(&hold.status(), margin))
    }

    /// Whether a job whose hold is lost so goes on without it, and says so.
    pub(super) fn goes_on_without(&self, lock: &str, loss: &Loss) -> bool {
        let goes_on = self.launch.terms.on_lost == OnLost::Continue
            && matches!(loss, Loss::Expiring { .. } | Loss::Gone);
        if goes_on {
            warn!(%lock, %loss, "a lock was lost, and its job goes on");
            self.say(
                false,
                format!(
                    "lock {lock} was lost: {loss}. THE JOB GOES ON WITHOUT IT (`on_lost: continue`), and others \
                     may run beside it"
                ),
            );
        }
        goes_on
    }

    pub(super) fn say(&self, calm: bool, message: String) {
        if let Some(running) = &self.running {
            running.link.tell(&Tell::Notice { message, calm });
        }
    }
}

/// Until when all of them are proven; none if that never ends.
fn proven_until(holds: &[Hold]) -> Option<Moment> {
    holds.iter().filter_map(Hold::deadline).min()
}

fn is_proven(status: &HoldStatus, margin: Duration) -> bool {
    let left = |deadline: Moment| BootTime::from_boot(deadline.0).since(BootTime::now());
    matches!(status, HoldStatus::Held { deadline } if deadline.is_none_or(|deadline| left(deadline) > margin))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        client::{AcquireOptions, Client},
        lock::{Beat, Owner, Request, Term, Token},
        store::MemoryStore,
    };

    #[tokio::test]
    async fn a_job_with_several_locks_is_proven_until_the_first_of_them_ends() {
        let client = Client::new(Arc::new(MemoryStore::new()), None);
        let mut holds = Vec::new();
        for lease in [60, 20, 40] {
            let token = Token::new(uuid::Uuid::new_v4());
            let term = Term::Live { beat: Beat(0), lease: Some(Duration::from_secs(lease)) };
            let request = Request::new(Owner::alone(token), token, term);
            let name = format!("lock-{lease}").parse().unwrap();
            holds.push(client.acquire(&name, request, AcquireOptions::default(), |_| {}).await.unwrap());
        }
        assert_eq!(proven_until(&holds), holds[1].deadline());
        assert_eq!(proven_until(&[]), None);
    }
}
