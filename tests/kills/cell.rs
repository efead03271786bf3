//! The cells of the table: who is hit, when, by what, and where the lock is.

use std::fmt;

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Runner,
    Prepare,
    Run,
    Cleanup,
    Keeper,
    /// It watches over what a stage left behind.
    Sentinel,
    /// The shell of the job's script.
    Shell,
    /// What the script has started, below its shell.
    Child,
    /// What the script has started, in a session of its own.
    Stray,
}

/// What the job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// prepare waits in the queue.
    Waiting,
    /// The keeper has the lock, and prepare has not yet read so.
    Granted,
    /// Between prepare and the first script.
    Prepared,
    /// A script runs, with its children.
    Running,
    /// Between two scripts, the first of which has left a process behind.
    Left,
    /// cleanup waits for the end of what is left.
    Ending,
    /// The lock is given back, and cleanup has not yet read so.
    Released,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Term,
    Int,
    Kill,
    /// STOP, and CONT when the lease would be over.
    Stop,
}

/// Where the lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file; the next job is on the same host.
    File,
    /// In a table; the next job is on another host.
    Table,
}

/// Who is hit at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    Nobody,
    Another(Who),
    /// All of the driver's processes that there are then, and the runner.
    Everybody,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub place: Place,
    pub moment: Moment,
    pub who: Who,
    pub with: With,
    pub fault: Fault,
}

const PLACES: [Place; 2] = [Place::File, Place::Table];

const MOMENTS: [Moment; 7] = [
    Moment::Waiting,
    Moment::Granted,
    Moment::Prepared,
    Moment::Running,
    Moment::Left,
    Moment::Ending,
    Moment::Released,
];

const ALL: [Who; 9] = [
    Who::Runner,
    Who::Prepare,
    Who::Run,
    Who::Cleanup,
    Who::Keeper,
    Who::Sentinel,
    Who::Shell,
    Who::Child,
    Who::Stray,
];

/// Those that are hit together: what one of them does not do any more another has to do.
const TOGETHER: [Who; 6] = [Who::Runner, Who::Prepare, Who::Run, Who::Cleanup, Who::Keeper, Who::Sentinel];

const FAULTS: [Fault; 4] = [Fault::Term, Fault::Int, Fault::Kill, Fault::Stop];

/// Why cells are left out, and how many.
pub type LeftOut = Vec<(&'static str, usize)>;

impl Cell {
    /// All cells that mean something, and why the others don't.
    pub fn all() -> (Vec<Self>, LeftOut) {
        let (mut cells, mut left_out) = (Vec::new(), LeftOut::new());
        let mut add = |cell: Self| match cell.left_out() {
            None => cells.push(cell),
            Some(why) => match left_out.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => left_out.push((why, 1)),
            },
        };
        for place in PLACES {
            for moment in MOMENTS {
                for who in ALL {
                    for fault in FAULTS {
                        add(Self { place, moment, who, with: With::Nobody, fault });
                    }
                }
                Self::together(place, moment).into_iter().for_each(&mut add);
            }
        }
        (cells, left_out)
    }

    /// Two at a time, and everybody if that is more.
    fn together(place: Place, moment: Moment) -> Vec<Self> {
        let alone = |who| Self { place, moment, who, with: With::Nobody, fault: Fault::Kill };
        let there: Vec<Who> = TOGETHER.into_iter().filter(|who| alone(*who).left_out().is_none()).collect();
        let mut cells = Vec::new();
        for (at, who) in there.iter().enumerate() {
            let with = |other: &Who| Self { with: With::Another(*other), ..alone(*who) };
            cells.extend(there[at + 1..].iter().map(with));
        }
        if there.len() > 2 {
            cells.push(Self { with: With::Everybody, ..alone(there[0]) });
        }
        cells
    }

    /// All who are hit.
    pub fn hit(self) -> Vec<Who> {
        match self.with {
            With::Nobody => vec![self.who],
            With::Another(other) => vec![self.who, other],
            With::Everybody => {
                let alone = |who: &Who| Self { who: *who, with: With::Nobody, ..self };
                TOGETHER.into_iter().filter(|who| alone(who).left_out().is_none()).collect()
            }
        }
    }

    /// Who is hit, as the table has it.
    pub fn names(self) -> String {
        match self.with {
            With::Nobody => self.who.to_string(),
            With::Another(other) => format!("{} + {other}", self.who),
            With::Everybody => "all of these".into(),
        }
    }

    fn left_out(self) -> Option<&'static str> {
        use Moment::{Ending, Granted, Left, Prepared, Released, Running, Waiting};
        match (self.who, self.moment) {
            (Who::Prepare, Waiting | Granted)
            | (Who::Run | Who::Shell | Who::Child, Running)
            | (Who::Cleanup, Ending | Released)
            | (Who::Stray, Running | Left | Ending)
            | (Who::Runner, _) => {}
            (Who::Prepare | Who::Run | Who::Cleanup, _) => return Some("this stage does not run then"),
            (Who::Shell | Who::Child | Who::Stray, _) => return Some("the job has no such process then"),
            (Who::Sentinel, Left | Ending) if self.place == Place::Table => {}
            (Who::Sentinel, _) if self.place == Place::File => {
                return Some("a lock in a file has no lease, and so no sentinel");
            }
            (Who::Sentinel, _) => return Some("there is a sentinel only after a script that left something"),
            (Who::Keeper, Released) => return Some("the keeper has ended with the release"),
            (Who::Keeper, Waiting | Granted | Prepared | Running | Left | Ending) => {}
        }
        let works_on = matches!(self.moment, Running | Left | Ending);
        if self.with == With::Everybody && self.place == Place::Table && works_on {
            return Some(
                "nobody is left on the host who could end what still works: the fencing number covers it",
            );
        }
        let is_told = matches!(self.fault, Fault::Term | Fault::Int);
        (is_told && self.place == Place::Table)
            .then_some("TERM and INT do the same wherever the lock is: with a file alone")
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Runner => "runner",
            Self::Prepare => "prepare",
            Self::Run => "run",
            Self::Cleanup => "cleanup",
            Self::Keeper => "keeper",
            Self::Sentinel => "sentinel",
            Self::Shell => "the shell",
            Self::Child => "its child",
            Self::Stray => "setsid child",
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Waiting => "prepare waits",
            Self::Granted => "just granted",
            Self::Prepared => "before the script",
            Self::Running => "the script runs",
            Self::Left => "between two scripts",
            Self::Ending => "cleanup ends the rest",
            Self::Released => "after the release",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP, CONT",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Table => "table",
        })
    }
}
