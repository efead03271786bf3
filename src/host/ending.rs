//! Ending a job's processes: asked first, then killed, until none lives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::{BootTime, sleep_until};
use super::process::{ProcId, Signal};
use super::subreaper::kill_children;
use super::tree::{JobTree, log_blindness, send};

/// The names of how many processes are kept for the report.
const NAMES: usize = 5;

/// The first pause between two looks at what still lives; each pause is longer than the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How often in a row those are killed who are there for too short a time to be seen.
const CHASE: u32 = 200;

/// How long a job's processes are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From TERM to KILL; zero means KILL at once.
    pub term_grace: Duration,
    /// From the first KILL on, until what still lives is given up: processes of another user, or stuck in the kernel.
    pub kill_limit: Duration,
}

/// What became of the processes that were to be ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many were seen alive and are gone.
    pub count: usize,
    /// The names of some of these, as the kernel has them.
    pub names: Vec<String>,
    /// Whether TERM was not enough.
    pub killed: bool,
    /// Those that still live after `kill_limit`.
    pub left: Vec<ProcId>,
    /// Whether there was no way to look who lives, at the end, or somebody was there who could not be seen.
    pub blind: bool,
}

impl Ended {
    /// Whether none of the job's processes lives any more. Where nobody could look, it is not over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left.is_empty() && !self.blind
    }
}

impl JobTree {
    /// Ends all of the job's processes: TERM and CONT to each, and what lives after the grace is stopped and killed,
    /// again and again until none lives. Returns as soon as none lives. Blocks the thread.
    #[must_use = "processes may be left"]
    pub fn end_blocking(&self, patience: Patience) -> Ended {
        let mut ending = Ending::new(self, patience);
        while let Some(pause) = ending.step() {
            std::thread::sleep(pause);
        }
        ending.report()
    }

    /// As [`JobTree::end_blocking`], for tokio. A dropped future leaves the processes as they are then.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn end(&self, patience: Patience) -> Ended {
        let mut ending = Ending::new(self, patience);
        while let Some(pause) = ending.step() {
            sleep_until(BootTime::now() + pause).await;
        }
        ending.report()
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nobody has been told yet.
    Ask,
    /// All were sent TERM; KILL is due at this moment.
    Grace(BootTime),
    /// KILL goes round until this moment.
    Kill(BootTime),
}

/// An ending in progress: one step at a time, so that it can be driven by blocking code and by tokio alike.
struct Ending {
    /// The job's tree; who was found once stays known in it, also when its parents are gone.
    tree: JobTree,
    patience: Patience,
    phase: Phase,
    pause: Duration,
    seen: BTreeMap<ProcId, Option<String>>,
    left: Vec<ProcId>,
    blind: bool,
}

impl Ending {
    fn new(tree: &JobTree, patience: Patience) -> Self {
        let (seen, left) = (BTreeMap::new(), Vec::new());
        Self { tree: tree.clone(), patience, phase: Phase::Ask, pause: FIRST_PAUSE, seen, left, blind: false }
    }

    /// Does what is due now. Tells how long to pause before the next step, or none when it is over.
    fn step(&mut self) -> Option<Duration> {
        let now = BootTime::now();
        self.look();
        if self.left.is_empty() && !self.blind {
            return None;
        }
        match self.phase {
            Phase::Ask if self.patience.term_grace.is_zero() => self.start_killing(now),
            Phase::Ask => self.ask(now),
            Phase::Grace(until) if now < until => {}
            Phase::Grace(_) => self.start_killing(now),
            Phase::Kill(until) if now < until => self.kill(),
            Phase::Kill(_) => return None,
        }
        Some(self.next_pause(now))
    }

    fn ask(&mut self, now: BootTime) {
        self.phase = Phase::Grace(now + self.patience.term_grace);
        // A frozen or stopped process gets TERM only once it goes on.
        self.tree.set_frozen(false);
        send(&self.left, Signal::TERM);
        send(&self.left, Signal::CONT);
    }

    fn start_killing(&mut self, now: BootTime) {
        self.phase = Phase::Kill(now + self.patience.kill_limit);
        self.pause = FIRST_PAUSE;
        // At once, forks in progress included: to stop first those who fork there takes seconds.
        self.kill_cgroup();
        // Who is stopped forks no more and doesn't start anew what was killed beside it.
        if let Err(error) = self.tree.stop_all() {
            tracing::debug!(%error, "the job's processes can't be stopped before they are killed");
        }
        self.look();
        self.kill();
    }

    fn kill_cgroup(&self) {
        if let Some(cgroup) = &self.tree.cgroup
            && let Err(error) = cgroup.kill()
        {
            tracing::debug!(path = %cgroup.path().display(), %error, "the job's cgroup can't be killed as a whole");
        }
    }

    fn kill(&self) {
        self.kill_cgroup();
        send(&self.left, Signal::KILL);
        if self.left.is_empty()
            && self.tree.is_below_me()
            && let Err(error) = kill_children(CHASE)
        {
            tracing::debug!(%error, "who can't be seen can't be killed either");
        }
    }

    /// Looks who lives. Where that is not possible, who was seen last is taken to live on.
    fn look(&mut self) {
        let living = self.tree.living().inspect_err(log_blindness);
        let hides = || self.tree.hides_somebody().inspect_err(log_blindness).unwrap_or(true);
        self.blind = living.as_ref().map_or(true, |living| living.is_empty() && hides());
        self.left = living.unwrap_or_else(|_| std::mem::take(&mut self.left));
        for id in &self.left {
            let named = self.seen.len() < NAMES;
            self.seen.entry(*id).or_insert_with(|| {
                self.tree.known.push(*id);
                named.then(|| id.command()).flatten()
            });
        }
    }

    fn next_pause(&mut self, now: BootTime) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        match self.phase {
            Phase::Grace(until) => pause.min(until.since(now)),
            Phase::Ask | Phase::Kill(_) => pause,
        }
    }

    fn report(self) -> Ended {
        let gone: Vec<_> = self.seen.into_iter().filter(|(id, _)| !self.left.contains(id)).collect();
        Ended {
            count: gone.len(),
            killed: matches!(self.phase, Phase::Kill(_)),
            names: gone.into_iter().filter_map(|(_, name)| name).collect(),
            left: self.left,
            blind: self.blind,
        }
    }
}

#[cfg(test)]
mod tests;
