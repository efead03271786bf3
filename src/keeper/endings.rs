//! How a job ends, whoever ends it: its processes first, then its locks.

use std::{os::fd::OwnedFd, time::Duration};

use tracing::{info, warn};

use super::{
    ending::{Ending, Then},
    giving_back::GivingBack,
    links::Link,
    protocol::{Farewell, Tell},
    service::{Event, Phase, Service},
    times::{BEFORE_THE_LEASE, KILL_LIMIT},
};
use crate::{
    client::{Hold, Loss},
    config::Survivors,
    host::{
        clock::{BootTime, sleep_until},
        ending::{Ended, Patience},
        subreaper,
    },
    lock::{Ending as HoldEnding, LockName},
};

/// How long a survivor has from TERM to KILL at cleanup: the next job waits for it.
const SURVIVOR_GRACE: Duration = Duration::from_secs(2);

/// After this time a stage is told that the store does not take a lock back.
const SAY_AFTER: Duration = Duration::from_secs(5);

impl Service {
    /// Ends the job. A second call only changes what comes after and who is told.
    pub(super) fn end(&mut self, ending: Ending) {
        if let Phase::Ending(under_way) = &mut self.phase {
            if !matches!(under_way.then, Then::Yield) && ending.then != Then::Refuse {
                under_way.then = ending.then;
            }
            under_way.callers.extend(ending.callers);
            under_way.tell_if_slow();
            return;
        }
        if let Phase::Acquiring(task) = &self.phase {
            task.abort();
        }
        let gives_back = ending.gives_back();
        self.phase = Phase::Ending(Box::new(ending));
        // A driver's cleanup may need what it left running; what still works is ended before it.
        if gives_back && self.running.is_none() && self.clean() {
            return;
        }
        self.end_survivors();
    }

    /// Of a job that ends, ends what survives, unless it may live on.
    pub(super) fn end_survivors(&mut self) {
        let Phase::Ending(ending) = &self.phase else { return };
        let spared = ending.then == Then::Release && self.launch.terms.survivors == Survivors::Leave;
        if spared && self.running.is_none() {
            self.processes_ended(Ended::default());
        } else {
            self.end_processes(Patience { term_grace: SURVIVOR_GRACE, kill_limit: KILL_LIMIT });
        }
    }

    /// cleanup: by the policy for survivors.
    pub(super) fn end_asked(&mut self, from: Link, fds: Vec<OwnedFd>) {
        self.cleaning.take_over(fds);
        if matches!(self.phase, Phase::Acquiring(_)) && !self.prepare.is_alive() {
            // cleanup can be heard before the news that prepare was killed.
            self.park();
        }
        match self.phase {
            Phase::Parked { .. } => {
                from.tell(&Tell::Ended(Farewell { parked: true, ..Farewell::default() }));
            }
            Phase::Holding | Phase::Draining
                if self.launch.terms.survivors == Survivors::Wait
                    && self.running.is_none()
                    && !self.runner_gone
                    && !self.cleaning.is_due()
                    && !self.estate.tree().is_over() =>
            {
                info!("cleanup waits for the job's processes to end by themselves");
                self.waiting_cleanups.push(from);
                self.phase = Phase::Draining;
            }
            _ => self.end(Ending::cleaning(from)),
        }
    }

    /// The job has no process left while the keeper waited for that.
    pub(super) fn drained(&mut self) {
        let mut ending = Ending::silently();
        ending.callers.append(&mut self.waiting_cleanups);
        self.end(ending);
    }

    /// A hold is not to go on: the job's processes end before anyone else may have the lock.
    pub(super) fn lost(&mut self, lock: &str, loss: &Loss) {
        if self.goes_on_without(lock, loss) {
            return;
        }
        let message = format!("lock {lock} was lost: {loss}; the job is ended");
        warn!(%lock, %loss, "a lock was lost");
        if let Some(running) = &self.running {
            running.link.tell(&Tell::Notice { message: message.clone(), calm: false });
        }
        self.why_lost.get_or_insert(message);
        if let Loss::Expiring { .. } = loss {
            self.unproven.push(lock.to_owned());
        }
        match &mut self.phase {
            Phase::Ending(under_way) => {
                if under_way.then == Then::Refuse {
                    under_way.then = Then::ReleaseAndRefuse;
                }
                return;
            }
            Phase::Failed if self.holds.is_empty() => return,
            _ => {}
        }
        let (then, patience) = match loss {
            Loss::Revoked { .. } => (Then::ReleaseAndRefuse, self.launch.terms.kill_grace),
            Loss::Superseded | Loss::Gone => (Then::ReleaseAndRefuse, Duration::ZERO),
            Loss::Expiring { deadline, .. } => {
                let left = deadline.0.saturating_sub(BootTime::now().since_boot());
                (Then::ReleaseAndRefuse, left.saturating_sub(BEFORE_THE_LEASE))
            }
        };
        let mut ending = Ending::new(then, None);
        if !self.waiting_cleanups.is_empty() {
            // The job was over but for its survivors: after this there is no stage to refuse.
            ending = Ending::silently();
            ending.callers.append(&mut self.waiting_cleanups);
        }
        self.phase = Phase::Ending(Box::new(ending));
        self.end_processes(Patience { term_grace: patience, kill_limit: KILL_LIMIT });
    }

    pub(super) fn end_processes(&mut self, mut patience: Patience) {
        if self.frozen_since.is_some() {
            // The lock may be another's by now: what is frozen is killed as it stands.
            patience.term_grace = Duration::ZERO;
        }
        if !subreaper::has_children() {
            // Nothing that ever descended from the keeper lives: a look at what else there may be is enough.
            patience = Patience { term_grace: Duration::ZERO, kill_limit: Duration::ZERO };
        }
        let (mut tree, events) = (self.estate.tree().clone(), self.events.clone());
        if !self.has_begun {
            // What runs below a keeper that still waits is the cleanup of a dead one that it buries.
            tree.root = None;
        }
        let task = tokio::spawn(async move {
            let ended = tree.end(patience).await;
            let _ = events.send(Event::ProcessesEnded(ended));
        });
        self.ending = Some(task.abort_handle());
    }

    pub(super) fn processes_ended(&mut self, ended: Ended) {
        let Phase::Ending(ending) = &mut self.phase else { return };
        if ended.count > 0 {
            info!(count = ended.count, names = ?ended.names, "processes of the job were ended");
        }
        // That is known without a look, too: for want of open files there may be none.
        let is_over = ended.is_over() || (ended.left.is_empty() && !subreaper::has_children());
        ending.farewell.ended += ended.count;
        ending.farewell.names.extend(ended.names);
        if !is_over {
            warn!(
                left = ended.left.len(),
                blind = ended.blind,
                "processes of the job can't be ended: the locks stay until they are gone"
            );
            ending.tell_of_stubborn(&ended.left);
            self.end_processes(Patience { term_grace: Duration::ZERO, kill_limit: KILL_LIMIT });
            return;
        }
        let gives_back = ending.gives_back() || self.runner_gone;
        if gives_back && self.clean() {
            return;
        }
        let Phase::Ending(ending) = &mut self.phase else { return };
        match ending.then {
            Then::Release | Then::ReleaseAndRefuse => self.give_back(),
            Then::Yield => {
                ending.callers.iter().for_each(|caller| caller.tell(&Tell::Done));
                // What a late write brings is the next try's too.
                self.client = None;
                self.estate.leave_to_the_next();
                self.over = true;
            }
            Then::Refuse if self.runner_gone => self.give_back(),
            Then::Refuse => self.phase = Phase::Failed,
        }
    }

    fn give_back(&mut self) {
        let holds = std::mem::take(&mut self.holds);
        let client = self.client.clone().filter(|_| !self.given_back);
        if let Phase::Ending(ending) = &mut self.phase {
            ending.farewell.cleaned = self.cleaning.done();
        }
        let Some(client) = client else {
            self.released(Farewell::default());
            return;
        };
        let ending = |hold: &Hold| {
            let is_lost = self.unproven.iter().any(|lock| lock == hold.name().as_str());
            Some((hold.name().clone(), hold.ending(is_lost)?))
        };
        let endings: Vec<(LockName, HoldEnding)> = holds.iter().filter_map(ending).collect();
        let names = self.launch.locks.iter().map(|wish| wish.name.clone()).collect();
        let giving = GivingBack::new(client.clone(), self.launch.token, holds, names);
        let (slow, events) = (giving.slow(), self.events.clone());
        tokio::spawn(async move {
            let farewell = giving.all().await;
            let over = [farewell.released.as_slice(), &farewell.kept].concat();
            let _ = events.send(Event::Released(farewell));
            // Behind the event: who waits for the end of the job does not wait for its history.
            for (name, ending) in endings.into_iter().filter(|(name, _)| over.contains(name)) {
                client.record(&name, ending);
            }
        });
        let events = self.events.clone();
        tokio::spawn(async move {
            sleep_until(BootTime::now() + SAY_AFTER).await;
            let _ = events.send(Event::ReleaseIsSlow(slow.farewell()));
        });
    }

    /// Nobody has to wait for a store that does not answer: the keeper goes on trying alone.
    pub(super) fn release_is_slow(&mut self, so_far: Farewell) {
        let Phase::Ending(ending) = &mut self.phase else { return };
        if so_far.failed.is_empty() {
            return;
        }
        warn!(failed = ?so_far.failed, "the store does not take the locks back yet");
        let mut told = std::mem::take(&mut ending.farewell);
        told.released.extend(so_far.released);
        told.kept.extend(so_far.kept);
        told.failed.extend(so_far.failed);
        ending.slow = Some(told);
        ending.tell_if_slow();
    }

    pub(super) fn released(&mut self, farewell: Farewell) {
        let Phase::Ending(ending) = &mut self.phase else { return };
        ending.farewell.released.extend(farewell.released);
        ending.farewell.kept.extend(farewell.kept);
        ending.farewell.failed.extend(farewell.failed);
        info!(released = ?ending.farewell.released, failed = ?ending.farewell.failed, "the locks are given back");
        self.given_back = ending.farewell.failed.is_empty();
        if ending.then == Then::ReleaseAndRefuse && !self.runner_gone {
            self.idle_since = BootTime::now();
            self.phase = Phase::Failed;
            self.note_deadline();
            return;
        }
        let told = Tell::Ended(std::mem::take(&mut ending.farewell));
        self.estate.close();
        ending.callers.iter().for_each(|caller| caller.tell(&told));
        self.over = true;
    }
}
