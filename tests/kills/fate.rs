//! What the design promises of a cell.

use std::time::Duration;

use crate::cell::{Cell, Fault, Moment, Place, Who};

/// The lease of the jobs that have one: as short as a file may say with the times below.
pub const LEASE: Duration = Duration::from_secs(6);

/// The host's file: what makes [`LEASE`] possible.
pub const TIMES: &str = "lease: 6s\nheartbeat: 200ms\nkill_grace: 500ms";

/// The claim window: who could have the lock and doesn't claim is passed over then.
const WINDOW: Duration = Duration::from_secs(15);

/// How soon a lock is free after the end of its job's last process, where the host survives.
const FREE: Duration = Duration::from_secs(1);

/// A waiter on another host hears no bell: the head of the queue looks every two seconds, give or take some.
const LOOK: Duration = Duration::from_millis(2300);

/// What becomes of the job that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, and holds its lock until its script has come to its end.
    GoesOn,
    /// It ends by the fault: its script never gets further.
    Ends,
    /// One or the other, by chance: both are right.
    Either,
}

/// When the next job is to have the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// So soon after the end of the job's last process, or the fault if there is none.
    AfterTheEnd(Duration),
    /// So soon after the fault.
    AfterTheFault(Duration),
}

impl Cell {
    /// How long a process that is stopped stays so.
    pub fn stopped_for(self) -> Duration {
        match self.place {
            // Longer than cleanup bears with a keeper that is stopped.
            Place::File => Duration::from_secs(3),
            // Longer than others watch a hold that is not renewed.
            Place::Table => LEASE.mul_f64(1.05) + Duration::from_millis(1500),
        }
    }

    pub fn fate(self) -> Fate {
        let fates: Vec<Fate> = self.hit().into_iter().map(|who| self.fate_by(who)).collect();
        let has = |fate| fates.contains(&fate);
        match () {
            () if has(Fate::Ends) => Fate::Ends,
            () if has(Fate::Either) => Fate::Either,
            () => Fate::GoesOn,
        }
    }

    /// What becomes of the job if this one alone is hit.
    fn fate_by(self, who: Who) -> Fate {
        use Fate::{Either, Ends, GoesOn};
        match (self.moment, who, self.fault) {
            // Whatever is done to them, they don't hold the lock, nor does anybody wait for them but the runner.
            (Moment::Ending | Moment::Released, ..) => Ends,
            (_, Who::Child | Who::Stray | Who::Sentinel, _) => GoesOn,
            // bash leaves an INT to its command now and then, and goes on.
            (_, Who::Run, Fault::Int) => Either,
            // Its shell waits for the command in front of it, whatever it is told.
            (_, Who::Shell, Fault::Kill) => Ends,
            (_, Who::Shell, _) => GoesOn,
            // `orphan: finish`: a script that runs comes to its end.
            (Moment::Running, Who::Runner, Fault::Kill) => GoesOn,
            // The runner tries again, and the place was kept.
            (Moment::Waiting, Who::Prepare, Fault::Kill) => GoesOn,
            // It drains: what runs comes to its end.
            (Moment::Running, Who::Keeper, Fault::Term | Fault::Int) => GoesOn,
            // The retry comes before the place is given up, or after.
            (Moment::Waiting, Who::Keeper, Fault::Kill) => Either,
            // Nothing is held yet that could be lost meanwhile.
            (Moment::Waiting, Who::Keeper, Fault::Stop) => GoesOn,
            // Nobody can prove any more that the lock is held.
            (_, Who::Keeper, Fault::Stop) if self.place == Place::Table => Ends,
            (_, _, Fault::Stop) => GoesOn,
            (_, Who::Runner | Who::Prepare | Who::Run | Who::Cleanup | Who::Keeper, _) => Ends,
        }
    }

    /// Whether nobody is left who would see to the job's end: its keeper is dead, and no cleanup comes or goes on.
    pub fn is_forsaken(self) -> bool {
        let hit = self.hit();
        let has = |who| hit.contains(&who);
        has(Who::Keeper) && (has(Who::Runner) || has(Who::Cleanup))
    }

    pub fn promise(self) -> Promise {
        let look = match (self.place, self.moment) {
            (Place::File, _) => Duration::ZERO,
            // Second in the queue it looks half as often, until it has seen that it is the first.
            (Place::Table, Moment::Waiting | Moment::Granted) => 2 * LOOK,
            (Place::Table, _) => LOOK,
        };
        if self.who == Who::Keeper && self.fault == Fault::Stop && self.fate() == Fate::Ends {
            return Promise::AfterTheFault(LEASE + WINDOW);
        }
        if self.place == Place::Table && self.is_forsaken() {
            // On another host nobody knows of it: the lease ends it.
            return Promise::AfterTheFault(LEASE + WINDOW);
        }
        Promise::AfterTheEnd(FREE + look)
    }
}
