//! `acquire` and `release`: holds that nobody watches over, each fault at each moment.

use std::sync::{Mutex, MutexGuard};

use crate::{
    bed::Bed,
    cells::{Cell, cell},
    harness::{Ended, Stage},
    moments::{SOON, at_the_first_write, goes_on, parts, while_it_waits},
    party::{How, Outcome, Party, rival},
    troubles::Trouble,
};

/// A trouble in the life of a hold.
type Moment = fn(&Trouble);

pub fn cells() -> Vec<Cell> {
    let moments: [(&str, Moment); 3] = [
        ("first write", |trouble| at_the_first_write(trouble, acquire)),
        ("wait", |trouble| while_it_waits(trouble, acquire)),
        ("release", at_a_release),
    ];
    let cells = moments.into_iter().flat_map(|(moment, run)| {
        let all = Trouble::all().into_iter();
        all.map(move |t| cell(format!("acquire, {moment}, {}", t.name), move || run(&t)))
    });
    cells.collect()
}

/// `acquire`, and `release` when it is to finish.
struct Hold {
    acquire: Mutex<Acquire>,
    release: Mutex<Option<Stage>>,
    start_release: Box<dyn Fn() -> Stage>,
}

enum Acquire {
    Runs(Stage),
    Ended(Ended),
    Unknown,
}

fn start(bed: &Bed, args: &[&str]) -> Stage {
    Stage::start(bed.command(args), true)
}

fn acquire(bed: &Bed) -> Box<dyn Party> {
    let stage = start(bed, &["acquire", "--name", &bed.lock, "--wait", "60s"]);
    let (site, lock) = (bed.host.site.clone(), bed.lock.clone());
    let start_release = move || {
        let mut command = site.program("config.yaml");
        command.args(["release", "--name", &lock]);
        Stage::start(command, true)
    };
    Box::new(Hold {
        acquire: Mutex::new(Acquire::Runs(stage)),
        release: Mutex::default(),
        start_release: Box::new(start_release),
    })
}

impl Hold {
    /// How `acquire` stands.
    fn acquire(&self) -> MutexGuard<'_, Acquire> {
        let mut acquire = self.acquire.lock().expect("no panic");
        *acquire = match std::mem::replace(&mut *acquire, Acquire::Unknown) {
            Acquire::Runs(mut stage) => match stage.runs() {
                true => Acquire::Runs(stage),
                false => Acquire::Ended(stage.end()),
            },
            other => other,
        };
        acquire
    }
}

impl Party for Hold {
    fn works(&self) -> bool {
        matches!(&*self.acquire(), Acquire::Ended(Ended { code: Some(0), .. }))
    }

    fn finish(&self) {
        *self.release.lock().expect("no panic") = Some((self.start_release)());
    }

    fn end(self: Box<Self>) -> Outcome {
        let acquire = match self.acquire.into_inner().expect("no panic") {
            Acquire::Runs(stage) => stage.end(),
            Acquire::Ended(ended) => ended,
            Acquire::Unknown => unreachable!("it is set again"),
        };
        let mut said = acquire.text();
        let mut code = acquire.code;
        if let Some(release) = self.release.into_inner().expect("no panic") {
            let release = release.end();
            said += &release.text();
            code = release.code;
        }
        assert!(!said.contains("panicked"), "{said}");
        Outcome { how: if code == Some(0) { How::Done } else { How::NotGot }, said }
    }

    fn said(&self) -> String {
        match &*self.acquire() {
            Acquire::Runs(stage) => stage.said(),
            Acquire::Ended(ended) => ended.text(),
            Acquire::Unknown => String::new(),
        }
    }
}

/// A release that fails says so; the next one does it.
fn at_a_release(trouble: &Trouble) {
    let bed = Bed::new();
    start(&bed, &["acquire", "--name", &bed.lock]).end().with_code(0);
    let next = rival(&bed);
    bed.until_waiters(1);
    trouble.begin(&bed.proxy, &[]);
    let release = start(&bed, &["release", "--name", &bed.lock]).end();
    let is_done = release.code == Some(0);
    if !is_done {
        release.with_code(3).with_text(&parts(&bed, trouble));
    }
    bed.proxy.mend();
    if !is_done {
        start(&bed, &["release", "--name", &bed.lock]).end();
    }
    goes_on(&bed, next, SOON);
}
