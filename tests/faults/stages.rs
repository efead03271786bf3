//! The executor's stages, each fault at each moment of a job.

use std::path::{Path, PathBuf};

use crate::{
    bed::Bed,
    cells::{Cell, cell},
    harness::{Attempt, Kind, Stage, eventually, within},
    moments::{GONE, LEASE_OVER, SOON, goes_on, parts, strike_renewals},
    party::{How, let_end, rival, script},
    troubles::Trouble,
};

pub fn cells() -> Vec<Cell> {
    let all = |moment: &str, run: fn(&Trouble)| -> Vec<Cell> {
        let cells = Trouble::all().into_iter();
        cells.map(|t| cell(format!("stages, {moment}, {}", t.name), move || run(&t))).collect()
    };
    let mut cells = all("whole job", a_job_that_is_met_three_times);
    cells.extend(all("loss", a_job_that_loses_its_lock));
    cells
}

/// A job's script that works alone until it is let end.
struct Script {
    stage: Stage,
    works: PathBuf,
    fifo: PathBuf,
}

fn begin(bed: &Bed, job: &Attempt) -> Script {
    let file = |name: &str| -> PathBuf { Path::new(bed.host.path()).join(name) };
    let (works, fifo) = (file("works"), file("finish"));
    let stage = job.run("build_script", &script(bed, &works, &fifo));
    eventually("the script works", || works.exists());
    Script { stage, works, fifo }
}

/// Prepare, run and cleanup are each met by it for a while.
fn a_job_that_is_met_three_times(trouble: &Trouble) {
    let bed = Bed::new();
    let mut job = bed.host.job(1).attempt();
    let mut prepare = None;
    trouble.strike(&bed.proxy, &[Kind::FirstWrite], || prepare = Some(job.prepare()));
    let prepare = prepare.expect("it was started").end();
    if trouble.is_refusal {
        prepare.with_code(2).with_text(&parts(&bed, trouble));
        job.finish();
        job = bed.host.job(1).prepared();
    } else {
        let prepare = prepare.with_code(0);
        if !trouble.is_harmless() {
            prepare.with_text(&parts(&bed, trouble));
        }
    }
    let script = begin(&bed, &job);
    let next = rival(&bed);
    bed.until_waiters(1);
    strike_renewals(&bed, trouble);
    let_end(&script.fifo);
    script.stage.end().with_code(0);
    assert!(!next.works());
    trouble.begin(&bed.proxy, &[Kind::Holders, Kind::Read]);
    let cleanup = job.cleanup();
    if cleanup.code != Some(0) {
        cleanup.with_code(2).with_text(&parts(&bed, trouble));
    }
    bed.proxy.mend();
    goes_on(&bed, next, LEASE_OVER);
    bed.host.nothing_is_left_within(GONE);
}

/// Nothing gets through any more while the script runs.
fn a_job_that_loses_its_lock(trouble: &Trouble) {
    let bed = Bed::new();
    let job = bed.host.job(1).prepared();
    let script = begin(&bed, &job);
    let next = rival(&bed);
    bed.until_waiters(1);
    trouble.begin(&bed.proxy, &[]);
    if trouble.is_harmless() {
        within(SOON, "renewals get through", || bed.proxy.hits() >= 4);
        let_end(&script.fifo);
        script.stage.end().with_code(0);
    } else {
        let run = script.stage.end().with_code(2).with_text(&parts(&bed, trouble));
        // By the keeper, or by the stage itself where the keeper was not quick enough.
        let said = run.text();
        assert!(said.contains("was lost") || said.contains("could not be proven"), "{said}");
        next.works_within(LEASE_OVER);
    }
    assert!(script.works.exists());
    bed.proxy.mend();
    let cleanup = job.cleanup();
    if cleanup.code != Some(0) {
        cleanup.with_code(2).with_text(&parts(&bed, trouble));
    }
    next.finish();
    next.end().is(How::Done);
    bed.until_free();
    bed.host.nothing_is_left_within(GONE);
}
