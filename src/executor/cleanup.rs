//! The cleanup stage: the job is over. Its processes end, then its locks are given back, whether its keeper
//! lives, hangs or is dead. What it says goes to the runner's log.

use std::{io, thread, time::Duration};

use signal_hook::consts::SIGTERM;
use tracing::warn;

use super::{Signals, StageEnvironment, StageExit, inner_cleanup::InnerCleanup, run::job_of};
use crate::report;
use crate::{
    host::{clock::BootTime, process::Signal},
    keeper::{Ask, Cleaned, Connection, Farewell, JobFolder, Tell, bury},
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
        // Its keeper has ended in good order, or whoever watched over it has ended the job in its stead.
        return report(&Farewell::default());
    }
    match end(&folder, token) {
        Ok(farewell) => report(&farewell),
        Err(error) => {
            report::warn(&format!(
                "pipeline-lock: the job could not be cleaned up: {}",
                report::with_causes(&error)
            ));
            StageExit::SystemFailure
        }
    }
}

fn end(folder: &JobFolder, token: Token) -> anyhow::Result<Farewell> {
    let mut inner = InnerCleanup::of(folder)?;
    let until = BootTime::now() + BURIAL;
    loop {
        // Again each time: one that could not serve a connection (the host is out of threads) may serve the next.
        let asked = ask(folder, inner.as_mut());
        if let Ok(connection) = asked
            && let Some(farewell) = wait(&connection, folder, inner.as_ref().map(InnerCleanup::signals))?
        {
            return Ok(farewell);
        }
        if let Some(inner) = &inner {
            inner.hand_to_the_burier(folder)?;
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

/// Asks the keeper to end the job, with the wrapped driver's cleanup if there is one.
fn ask(folder: &JobFolder, inner: Option<&mut InnerCleanup>) -> io::Result<Connection> {
    let connection = Connection::open(folder)?;
    match inner {
        Some(inner) => inner.ask(&connection)?,
        None => connection.ask(&Ask::End, &[])?,
    }
    Ok(connection)
}

/// Waits for the keeper's farewell; `None`: it has died, or was stopped and is killed now.
fn wait(
    connection: &Connection,
    folder: &JobFolder,
    signals: Option<&Signals>,
) -> io::Result<Option<Farewell>> {
    let mut stopped_since = None;
    connection.set_patience(Some(LOOK_EVERY))?;
    loop {
        if signals.is_some_and(|signals| signals.take().contains(&SIGTERM)) {
            // The runner gives cleanup no more time: that is for the driver's cleanup to know.
            connection.ask(&Ask::Signal { number: SIGTERM }, &[])?;
        }
        match connection.hear() {
            Ok(Some(Tell::Ended(farewell))) => return Ok(Some(farewell)),
            Ok(Some(Tell::Notice { message, .. })) => report::warn(&format!("pipeline-lock: {message}")),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let Some(keeper) = connection.keeper(folder).filter(|keeper| keeper.is_stopped()) else {
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
    if farewell.is_empty_handed() {
        report::say("pipeline-lock: nothing to release: the job had no lock, or it was given back before");
    }
    if farewell.ended > 0 {
        let names = farewell.names.join(", ");
        let (processes, were) = if farewell.ended == 1 { ("process", "was") } else { ("processes", "were") };
        report::warn(&format!(
            "pipeline-lock: {} {processes} that the job left behind {were} ended: {names}",
            farewell.ended
        ));
    }
    for failure in &farewell.failed {
        report::warn(&format!("pipeline-lock: {failure}"));
    }
    match (&farewell.cleaned, farewell.failed.is_empty()) {
        (_, false) => StageExit::SystemFailure,
        (None, true) => StageExit::Success,
        (Some(cleaned), true) => told_of(cleaned),
    }
}

/// What became of a wrapped driver's cleanup, in the runner's log.
fn told_of(cleaned: &Cleaned) -> StageExit {
    let (what, exit) = match cleaned {
        Cleaned::Code(0) => return StageExit::Success,
        Cleaned::Code(code) => (format!("ended with exit code {code}"), StageExit::Verbatim(*code)),
        Cleaned::Signal(number) => (format!("was ended by signal {number}"), StageExit::Signal(*number)),
        Cleaned::TimedOut(limit) => {
            let what = format!("took longer than cleanup_exec_timeout ({limit:?}) and was ended");
            (what, StageExit::SystemFailure)
        }
        Cleaned::NotStarted(why) => (format!("could not be called: {why}"), StageExit::SystemFailure),
    };
    report::warn(&format!("pipeline-lock: the driver's cleanup {what}; the lock is released nonetheless"));
    exit
}
