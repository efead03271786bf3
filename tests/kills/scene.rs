//! The hosts, the job that is hit, and the next one, brought to a moment.

use rustix::process::Signal;

use crate::{
    cell::{Cell, Fault, Moment, Place, Who},
    fate::TIMES,
    harness::{Attempt, Host, Process, Stage, Store, eventually, found},
    proof::Proof,
    stand_in::{Plan, StandIn, Step},
};

/// The job that holds the lock while the one that is hit waits for it.
const HOLDER: u64 = 1;

/// The job that is hit.
pub const HIT: u64 = 2;

/// The job that waits behind it.
pub const NEXT: u64 = 3;

/// A job of the same host that comes when all is over.
pub const LATER: u64 = 4;

/// Everybody, at the cell's moment.
pub struct Scene {
    pub cell: Cell,
    pub runner: StandIn,
    pub proof: Proof,
    pub next: Attempt,
    /// The next job's prepare, until it has the lock.
    pub waiting: Option<Stage>,
    /// Who holds the lock while the job waits.
    holder: Option<Attempt>,
    /// The stage that stands still, so that the moment lasts.
    still: Option<Process>,
    pub here: Host,
    /// The next job's host, if it is another one.
    pub there: Option<Host>,
}

impl Scene {
    /// Brings the job to the moment.
    pub fn at(cell: Cell) -> Self {
        let (here, there) = match cell.place {
            Place::File => (Host::local(TIMES), None),
            Place::Table => {
                let table = Store::table();
                (Host::new(&table, TIMES), Some(Host::new(&table, TIMES)))
            }
        };
        let is_behind = matches!(cell.moment, Moment::Waiting | Moment::Granted);
        let holder = is_behind.then(|| here.job(HOLDER).prepared());
        let proof = Proof::on(&here);
        let runner = StandIn::start(&plan(cell, &here, &proof));
        let next = there.as_ref().unwrap_or(&here).job(NEXT).attempt();
        let mut scene = Self { cell, runner, proof, next, waiting: None, holder, still: None, here, there };
        scene.reach();
        scene
    }

    fn reach(&mut self) {
        match self.cell.moment {
            Moment::Waiting | Moment::Granted => self.here.until_queued(&[HIT]),
            Moment::Prepared => self.here.until_reached("prepared"),
            Moment::Running => self.here.until_reached("go"),
            Moment::Left | Moment::Ending | Moment::Released => {
                self.here.until_reached("left");
                if self.cell.place == Place::Table {
                    self.process(Who::Sentinel);
                }
            }
        }
        self.waiting = Some(self.next.prepare());
        eventually("the next job waits", || self.here.queue().last() == Some(&NEXT));
        match self.cell.moment {
            Moment::Granted => {
                self.stands_still(Who::Prepare);
                self.release_the_holder();
                eventually("the keeper has the lock", || self.here.holders() == [HIT]);
            }
            Moment::Ending | Moment::Released => {
                let docile = self.here.told("docile");
                self.here.open("left");
                eventually("cleanup ends what is left", || !docile.lives());
                if self.cell.moment == Moment::Released {
                    self.stands_still(Who::Cleanup);
                    eventually("the lock is given back", || self.here.holders() == [NEXT]);
                }
            }
            Moment::Waiting | Moment::Prepared | Moment::Running | Moment::Left => {}
        }
    }

    fn stands_still(&mut self, who: Who) {
        let process = self.process(who);
        process.signal(Signal::STOP);
        self.still = Some(process);
    }

    /// The process of the job that is to be hit.
    #[track_caller]
    pub fn process(&self, who: Who) -> Process {
        match who {
            Who::Runner => self.runner.process(),
            Who::Prepare => self.runner.stage("prepare"),
            Who::Run => self.runner.stage("run"),
            Who::Cleanup => self.runner.stage("cleanup"),
            Who::Keeper => self.own("keeper"),
            Who::Sentinel => self.own("sentinel"),
            Who::Shell => self.here.told("shell"),
            Who::Child => self.here.told("child"),
            Who::Stray => self.here.told("stray"),
        }
    }

    #[track_caller]
    fn own(&self, word: &str) -> Process {
        let token = self.runner.token();
        // A keeper has the beginning of the token on its command line, a sentinel all of it in its environment.
        let variable = format!("PIPELINE_LOCK_TOKEN={token}");
        let is_own = |process: &Process| {
            let args = process.args();
            let is_named = args.get(2).is_some_and(|short| token.starts_with(short.as_str()));
            args.get(1).is_some_and(|what| what == word) && (is_named || process.has(&variable))
        };
        found(word, || Process::all().into_iter().find(is_own))
    }

    /// The fault, and what was only held up so that its moment lasts. The first of those who were hit.
    pub fn hit(&mut self) -> Process {
        let hit: Vec<Process> = self.cell.hit().into_iter().map(|who| self.process(who)).collect();
        let signal = match self.cell.fault {
            Fault::Term => Signal::TERM,
            Fault::Int => Signal::INT,
            Fault::Kill => Signal::KILL,
            Fault::Stop => Signal::STOP,
        };
        hit.iter().for_each(|process| process.signal(signal));
        let stays_still = |still: &Process| hit.contains(still) && self.cell.fault == Fault::Stop;
        if let Some(still) = self.still.filter(|still| !stays_still(still)) {
            still.signal(Signal::CONT);
        }
        self.release_the_holder();
        self.here.open("prepared");
        self.here.open("left");
        hit[0]
    }

    fn release_the_holder(&mut self) {
        if let Some(holder) = self.holder.take() {
            holder.finish();
        }
    }

    /// The tokens of all jobs.
    pub fn tokens(&self) -> Vec<String> {
        let mut tokens = self.runner.tokens();
        tokens.push(self.next.token());
        tokens
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.here).chain(&self.there)
    }
}

/// What the job's runner does.
fn plan(cell: Cell, host: &Host, proof: &Proof) -> Plan {
    let gate = |name: &str| Step::Gate(name.to_owned());
    let is_canceled = cell.who == Who::Prepare && matches!(cell.fault, Fault::Term | Fault::Int);
    let steps = match cell.moment {
        // A runner that cancels a job in prepare calls no other stage but cleanup.
        _ if is_canceled => vec![Step::Prepare],
        Moment::Waiting | Moment::Granted | Moment::Running => {
            vec![Step::Prepare, Step::Run(works(host, proof))]
        }
        Moment::Prepared => vec![Step::Prepare, gate("prepared"), Step::Run(works(host, proof))],
        Moment::Left => {
            let leaves = proof.line() + &stray(host);
            vec![Step::Prepare, Step::Run(leaves), gate("left"), Step::Run(host.gate("go"))]
        }
        Moment::Ending | Moment::Released => {
            let leaves = proof.line() + &deaf(host);
            vec![Step::Prepare, Step::Run(leaves), gate("left")]
        }
    };
    Plan { job: host.job(HIT), steps, tries: if is_canceled { 1 } else { 3 } }
}

/// A script with a child and a stray, which ends when it may.
fn works(host: &Host, proof: &Proof) -> String {
    format!(
        "{}{}sleep 600 </dev/null >/dev/null 2>&1 &\n{}{}{}",
        proof.line(),
        stray(host),
        host.tells("child", "$!"),
        host.tells("shell", "$$"),
        host.gate("go")
    )
}

/// A process that leaves its session.
fn stray(host: &Host) -> String {
    format!("setsid sleep 600 </dev/null >/dev/null 2>&1 &\n{}", host.tells("stray", "$!"))
}

/// One that TERM does not end, and one that it ends.
fn deaf(host: &Host) -> String {
    let deaf =
        "setsid bash -c 'trap \"\" TERM INT; while true; do sleep 1; done' </dev/null >/dev/null 2>&1 &";
    let docile = format!("setsid sleep 600 </dev/null >/dev/null 2>&1 &\n{}", host.tells("docile", "$!"));
    format!("{deaf}\n{}{docile}", host.tells("stray", "$!"))
}
