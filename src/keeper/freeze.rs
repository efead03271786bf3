//! This host has stood still while others went on: nothing of the job moves until it is proven that it still has its locks.

use std::time::Duration;

use tracing::{info, warn};

use super::{
    protocol::Tell,
    service::{HeldBack, Phase, Service},
    times::KILL_LIMIT,
};
use crate::{
    client::{Hold, HoldStatus, humane},
    config::OnLost,
    host::{clock::BootTime, ending::Patience},
    lock::Moment,
};

impl Service {
    /// Time was lost: the job is frozen, or ended at once where it was being ended.
    pub(super) fn time_was_lost(&mut self, lost: Duration) {
        let is_leased = self.holds.iter().any(|hold| hold.deadline().is_some());
        if !is_leased || self.launch.terms.on_lost != OnLost::Stop {
            self.holds.iter().for_each(Hold::renew_now);
            return;
        }
        match self.phase {
            Phase::Holding | Phase::Draining => {
                warn!(?lost, "this host has stood still: the job is frozen until its locks are proven");
                self.freeze();
                let lost = humane(lost);
                self.say(
                    false,
                    format!(
                        "this host has stood still for {lost}, or its clock was set forward: the job is frozen until its \
                         locks are proven to be held"
                    ),
                );
                self.holds.iter().for_each(Hold::renew_now);
            }
            Phase::Ending(_) => {
                let Some(task) = self.ending.take_if(|task| !task.is_finished()) else { return };
                warn!(?lost, "this host has stood still: the job's processes get no more time to end");
                task.abort();
                self.freeze();
                self.end_processes(Patience { term_grace: Duration::ZERO, kill_limit: KILL_LIMIT });
            }
            Phase::Acquiring(_) | Phase::Parked { .. } | Phase::Failed => {}
        }
    }

    fn freeze(&mut self) {
        self.frozen_since = Some(Moment(BootTime::now().since_boot()));
        if let Err(error) = self.estate.tree().freeze() {
            warn!(%error, "not all of the job could be frozen");
        }
    }

    /// The job goes on once each lock was renewed since.
    pub(super) fn thaw_if_proven(&mut self) {
        let Some(since) = self.frozen_since else { return };
        let lease = self.launch.terms.lease;
        let is_proven = |hold: &Hold| match hold.status() {
            HoldStatus::Held { deadline } => deadline.is_none_or(|deadline| deadline >= since.plus(lease)),
            HoldStatus::Lost { .. } => false,
        };
        if !self.holds.iter().all(is_proven) {
            return;
        }
        self.frozen_since = None;
        info!("the job goes on");
        if let Err(error) = self.estate.tree().thaw() {
            warn!(%error, "some of the job may still be frozen");
        }
        self.say(true, "the locks are still held: the job goes on".into());
    }

    /// Keeps a stage for later: a process that starts in a frozen cgroup stands still before it has become the command,
    /// and the keeper, which waits for that, with it.
    pub(super) fn hold_back(&mut self, stage: HeldBack) {
        info!(stage = stage.stage, "a stage waits until the job's locks are proven");
        let message =
            "this host has stood still: the script begins when the job's locks are proven to be held";
        stage.from.tell(&Tell::Notice { message: message.into(), calm: false });
        self.held_back = Some(stage);
    }

    /// Starts the stage that was held back, or refuses it: for a job that is not frozen, or that ends.
    pub(super) fn answer_who_was_held_back(&mut self) {
        if self.frozen_since.is_some() && matches!(self.phase, Phase::Holding) {
            return;
        }
        if let Some(HeldBack { from, version, stage, fds }) = self.held_back.take() {
            self.run_asked(from, version, stage, fds);
        }
    }
}
