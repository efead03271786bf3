//! When a wrapped driver's cleanup is called, and what comes of it.

use std::{io, path::PathBuf, process::ExitStatus};

use tracing::{info, warn};

use super::{
    cleaning::{Stage, mark},
    protocol::Cleaned,
    script,
    service::{Event, Phase, Service},
};
use crate::{
    config::Survivors,
    host::{
        clock::{BootTime, sleep_until},
        ending::Patience,
    },
};

/// Tells the driver's cleanup that the job has lost its lock, and why: somebody else may have it.
const LOST_VARIABLE: &str = "PIPELINE_LOCK_LOST";

impl Service {
    /// The job has its locks: from now on the cleanup is due, also for whoever buries this keeper.
    pub(super) fn cleaning_becomes_due(&mut self) -> io::Result<()> {
        if let Stage::NotDue(rites) = &mut self.cleaning.stage
            && let Some(mut rites) = rites.take()
        {
            rites.env.extend(script::own_variables(mark(self.launch.token), &self.holds, &self.launch.locks));
            self.estate.folder().write_rites(&rites)?;
            self.cleaning.stage = Stage::Due(rites);
        }
        Ok(())
    }

    /// Calls the cleanup if that is due. True while it runs: what was to come next comes at its end.
    pub(super) fn clean(&mut self) -> bool {
        let mut block = match &self.cleaning.stage {
            Stage::Due(block) => block.clone(),
            Stage::Running { is_overdue: false, .. } => return true,
            Stage::Running { is_overdue: true, .. } => {
                // Its last process was just seen to be gone.
                self.cleaned_too_late();
                return false;
            }
            Stage::NotDue(_) | Stage::Done(_) => return false,
        };
        if !block.dir.is_dir() {
            // The runner's folder of the job may be gone with the runner.
            block.dir = PathBuf::from("/");
        }
        if let Some(why) = &self.why_lost {
            block.env.push((LOST_VARIABLE.into(), why.into()));
        }
        block.env.extend(script::own_variables(mark(self.launch.token), &self.holds, &self.launch.locks));
        let streams = self.cleaning.take_streams();
        // Not in the job's cgroup: who ends the job from outside of the keeper must not end this.
        let started = streams.and_then(|streams| {
            script::start(&block, &self.launch, streams, None, self.estate.before(), None)
        });
        match started {
            Ok(process) => {
                info!(pid = process.pid.get(), "the driver's cleanup is called");
                self.cleaning.stage = Stage::Running { process, is_overdue: false };
                self.limit_cleanup();
                true
            }
            Err(error) => {
                warn!(%error, "the driver's cleanup can't be called");
                self.cleaned(Cleaned::NotStarted(error.to_string()));
                false
            }
        }
    }

    fn limit_cleanup(&self) {
        let Some(driver) = &self.launch.driver else { return };
        let (until, events) = (BootTime::now() + driver.cleanup_timeout, self.events.clone());
        tokio::spawn(async move {
            sleep_until(until).await;
            let _ = events.send(Event::CleanupOverdue);
        });
    }

    pub(super) fn cleanup_is_overdue(&mut self) {
        let Stage::Running { is_overdue, .. } = &mut self.cleaning.stage else { return };
        *is_overdue = true;
        warn!("the driver's cleanup takes longer than it may: it is ended");
        if let Some(driver) = &self.launch.driver {
            self.end_processes(Patience { term_grace: driver.graceful_kill, kill_limit: driver.force_kill });
        }
    }

    /// The cleanup's process has ended.
    pub(super) fn cleanup_ended(&mut self, status: ExitStatus) {
        let Stage::Running { is_overdue, .. } = self.cleaning.stage else { return };
        if is_overdue {
            // What comes next comes when the last of its processes has ended.
            self.cleaned_too_late();
            return;
        }
        self.cleaned(Cleaned::of(status));
        let Phase::Ending(ending) = &mut self.phase else { return };
        let waits = self.launch.terms.survivors == Survivors::Wait && !self.runner_gone;
        if waits && !ending.callers.is_empty() && !self.estate.tree().is_over() {
            info!("cleanup waits for the job's processes to end by themselves");
            self.waiting_cleanups.append(&mut ending.callers);
            self.phase = Phase::Draining;
            return;
        }
        self.end_survivors();
    }

    fn cleaned_too_late(&mut self) {
        let limit = self.launch.driver.as_ref().map(|driver| driver.cleanup_timeout);
        self.cleaned(Cleaned::TimedOut(limit.unwrap_or_default()));
    }

    fn cleaned(&mut self, cleaned: Cleaned) {
        info!(?cleaned, "the driver's cleanup is over");
        self.cleaning.stage = Stage::Done(cleaned);
        self.estate.folder().remove_rites();
    }
}
