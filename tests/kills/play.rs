//! One cell, from the moment to the last trace of the job.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    cell::{Cell, Fault, Moment},
    fate::{Fate, Promise},
    harness::{Process, eventually},
    left,
    scene::{HIT, LATER, NEXT, Scene},
};

/// Between two looks at who lives and who has the lock.
const LOOK: Duration = Duration::from_millis(5);

/// What a loaded machine may add to each promise: many jobs and their programs run at once here.
const SLACK: Duration = Duration::from_secs(2);

/// After so long nothing comes any more.
const NEVER: Duration = Duration::from_secs(40);

/// What became of a cell.
pub struct Played {
    pub cell: Cell,
    /// When the next job had the lock, in the terms of the cell's promise.
    pub took: Option<Duration>,
    /// How the job's stages ended.
    pub stages: Vec<String>,
    /// What is not as promised.
    pub verdict: Result<(), String>,
}

impl Played {
    pub fn failed(cell: Cell, why: String) -> Self {
        Self { cell, took: None, stages: Vec::new(), verdict: Err(why) }
    }
}

/// Plays `cell`. What the harness misses is a panic.
pub fn play(cell: Cell) -> Played {
    let mut scene = Scene::at(cell);
    let mut act = Act::begin(&mut scene);
    act.watch(&mut scene);
    let took = act.took();
    let mut faults = act.faults;
    if let Some(took) = took
        && took > limit(cell) + SLACK
    {
        faults.push(format!("the next job had the lock after {took:.2?}"));
    }
    finish(&mut scene, &mut faults);
    let stages = scene.runner.endings();
    let verdict = if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) };
    Played { cell, took, stages, verdict }
}

/// The promised time.
pub fn limit(cell: Cell) -> Duration {
    match cell.promise() {
        Promise::AfterTheEnd(limit) | Promise::AfterTheFault(limit) => limit,
    }
}

/// From the fault to the next job's lock.
struct Act {
    cell: Cell,
    target: Process,
    hit: Instant,
    /// When the process that was stopped went on.
    woken: Option<Instant>,
    /// When the script was let go on to its end.
    opened: Option<Instant>,
    granted: Option<Instant>,
    /// When a process of the job was last seen to live.
    last_alive: Option<Instant>,
    faults: Vec<String>,
}

impl Act {
    fn begin(scene: &mut Scene) -> Self {
        let hit = Instant::now();
        let target = scene.hit();
        Self {
            cell: scene.cell,
            target,
            hit,
            woken: None,
            opened: None,
            granted: None,
            last_alive: None,
            faults: Vec::new(),
        }
    }

    fn watch(&mut self, scene: &mut Scene) {
        while self.granted.is_none() || !self.is_awake() {
            if self.hit.elapsed() > NEVER {
                self.faults.push(format!("the next job had no lock within {NEVER:?}"));
                return;
            }
            self.look(scene);
            if !self.is_awake() && self.hit.elapsed() >= self.cell.stopped_for() {
                self.target.signal(Signal::CONT);
                self.woken = Some(Instant::now());
            }
            let may_end = match self.cell.fate() {
                Fate::GoesOn => self.is_awake(),
                Fate::Either => true,
                Fate::Ends => false,
            };
            let gates = scene.here.path().join("gates");
            if may_end && self.opened.is_none() && gates.join("go.reached").exists() {
                self.opened = Some(Instant::now());
                scene.here.open("go");
            }
            thread::sleep(LOOK);
        }
    }

    /// Whether nobody stands still any more.
    fn is_awake(&self) -> bool {
        self.cell.fault != Fault::Stop || self.woken.is_some()
    }

    /// Who lives, and who has the lock. The grant is looked at first: who lives then lived at the grant.
    fn look(&mut self, scene: &mut Scene) {
        let now = Instant::now();
        let is_granted = self.granted.is_none() && scene.waiting.as_mut().is_some_and(|next| !next.runs());
        let lives = scene.proof.anybody_lives();
        if self.granted.is_none() {
            self.last_alive = scene.proof.last_alive.max(self.last_alive);
        }
        if !is_granted {
            return;
        }
        self.granted = Some(now);
        let ended = scene.waiting.take().expect("it is there").end();
        if ended.code != Some(0) {
            self.faults.push(format!("the next job has no lock: {}{}", ended.text(), ended.error_text()));
        }
        if lives {
            self.faults.push("THE JOB LIVES BESIDE THE NEXT HOLDER".into());
        }
        if self.cell.fate() == Fate::GoesOn && self.opened.is_none() {
            self.faults.push("the job lost its lock though it should go on".into());
        }
    }

    /// How long the next job waited for its lock, from when it was due.
    fn took(&self) -> Option<Duration> {
        let granted = self.granted?;
        if self.cell.moment == Moment::Released {
            return None;
        }
        let since = match self.cell.promise() {
            Promise::AfterTheFault(_) => self.hit,
            Promise::AfterTheEnd(_) => {
                let due = [Some(self.hit), self.opened, self.last_alive];
                due.into_iter().flatten().max().expect("there is the fault")
            }
        };
        Some(granted.saturating_duration_since(since))
    }
}

/// The next job works and ends undisturbed, the job that was hit comes to its end, and nothing of either is left.
fn finish(scene: &mut Scene, faults: &mut Vec<String>) {
    for gate in ["prepared", "left", "go"] {
        scene.here.open(gate);
    }
    if scene.waiting.is_some() {
        return;
    }
    // A runner that tries again waits behind the next job.
    let Scene { runner, here, .. } = scene;
    eventually("the runner is done, or waits again", || runner.has_ended() || here.queue().contains(&HIT));
    faults.extend(left::zombies(scene));
    if scene.here.holders() != [NEXT] {
        faults.push("the next job has lost its lock to the end of the one that was hit".into());
    }
    let script = scene.next.script_ends("true");
    if script.code != Some(0) {
        faults.push(format!("the next job can't work: {}", script.text()));
    }
    let cleanup = scene.next.cleanup();
    if cleanup.code != Some(0) || !cleanup.text().contains("is released") {
        faults.push(format!("the next job can't release: {}{}", cleanup.text(), cleanup.error_text()));
    }
    eventually("the runner is done", || scene.runner.has_ended());
    if scene.cell.is_forsaken() {
        // What nobody has buried is found by the host's next job.
        scene.here.job(LATER).prepared().finish();
    }
    faults.extend(left::anything(scene, SLACK));
}
