//! The cleanup stage: the job is over. Its processes end, then its locks are given back, whether its keeper
//! lives, hangs or is dead. What it says goes to the runner's log.

use std::{io, thread, time::Duration};

use tracing::warn;

use super::{StageEnvironment, StageExit, run::job_of};
use crate::report;
use crate::{
    host::{
        clock::BootTime,
        process::{Pid, ProcId, Signal},
    },
    keeper::{Ask, Connection, Farewell, JobFolder, Tell, bury},
    lock::Token,
};

/// How often a silent keeper is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a keeper may stay stopped (`kill -STOP`) before cleanup takes its work over.
const STOPPED_FOR: Duration = Duration::from_secs(2);

/// How long processes that can't be ended are tried, before cleanup says so and ends.
const BURIAL: Duration = Duration::from_secs(60);

/// Ends the job. The answer never changes the job's result, but a failure is one in the runner's log.
pub fn cleanup(environment: &StageEnvironment) -> StageExit {
    let Ok((folder, token)) = job_of(environment) else {
        // After a failed config stage there is no job to end.
        return StageExit::Success;
    };
    if !folder.exists() {
        return StageExit::Success;
    }
    match end(&folder, token) {
        Ok(farewell) => report(&farewell),
        Err(error) => {
            report::warn(&format!("pipeline-lock: the job could not be cleaned up: {error:#}"));
            StageExit::SystemFailure
        }
    }
}

fn end(folder: &JobFolder, token: Token) -> anyhow::Result<Farewell> {
    let until = BootTime::now() + BURIAL;
    loop {
        // Again each time: one that could not serve a connection (the host is out of threads) may serve the next.
        let asked = Connection::open(folder).and_then(|c| c.ask(&Ask::End, &[]).map(|()| c));
        if let Ok(connection) = asked
            && let Some(farewell) = wait(&connection, folder)?
        {
            return Ok(farewell);
        }
        if let Some(farewell) = bury(folder, token)? {
            return Ok(farewell);
        }
        anyhow::ensure!(
            BootTime::now() < until,
            "its keeper or some of its processes can't be ended; while they live, its lock stays"
        );
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits for the keeper's farewell; `None`: it has died, or was stopped and is killed now.
fn wait(connection: &Connection, folder: &JobFolder) -> io::Result<Option<Farewell>> {
    let mut stopped_since = None;
    connection.set_patience(Some(LOOK_EVERY))?;
    loop {
        match connection.hear() {
            Ok(Some(Tell::Ended(farewell))) => return Ok(Some(farewell)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let Some(keeper) = keeper_of(folder).filter(|keeper| keeper.is_stopped()) else {
                    stopped_since = None;
                    continue;
                };
                let now = BootTime::now();
                if now.since(*stopped_since.get_or_insert(now)) >= STOPPED_FOR {
                    warn!("the job's keeper is stopped: it is killed, and its work done from here");
                    keeper.signal(Signal::KILL)?;
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn keeper_of(folder: &JobFolder) -> Option<ProcId> {
    let pid = folder.read_record().ok()?.pid;
    ProcId::of(Pid::new(i32::try_from(pid).ok()?)?)
}

fn report(farewell: &Farewell) -> StageExit {
    for name in &farewell.released {
        report::say(&format!("pipeline-lock: lock {name} is released"));
    }
    for name in &farewell.kept {
        report::say(&format!("pipeline-lock: lock {name} is kept for the pipeline's next job"));
    }
    if farewell.parked {
        report::say("pipeline-lock: the place in the queue is kept for a retry");
    }
    if farewell.ended > 0 {
        let names = farewell.names.join(", ");
        report::warn(&format!(
            "pipeline-lock: {} processes that the job left behind were ended: {names}",
            farewell.ended
        ));
    }
    for failure in &farewell.failed {
        report::warn(&format!("pipeline-lock: {failure}"));
    }
    if farewell.failed.is_empty() { StageExit::Success } else { StageExit::SystemFailure }
}
