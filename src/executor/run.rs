//! The run stage: has the keeper run one script, and waits for it.

use std::{ffi::OsString, io, os::fd::AsFd, path::Path};

use rustix::pipe::{PipeFlags, pipe_with};

use super::{
    End, Limits, Signals, StageEnvironment, StageExit, Supervision,
    environment::script_environment,
    inner,
    relay::{Relay, Sink},
    sentinel::leave_sentinel,
    supervise,
};
use crate::{
    keeper::{Ask, CommandBlock, Connection, JobFolder, VERSION, bury_now},
    lock::Token,
    report::{JobLog, with_causes},
};

/// Runs `script` of the stage named `stage`. Any name is run: newer runners have new stages.
pub fn run(environment: &StageEnvironment, script: &Path, stage: &str) -> StageExit {
    let mut log = JobLog::new(io::stdout(), true);
    let result = job_of(environment).and_then(|(folder, token)| {
        run_in(&folder, token, script, stage, &mut log).map_err(|error| with_causes(&error))
    });
    match result {
        Ok(exit) => exit,
        Err(message) => {
            log.failure(&message);
            StageExit::SystemFailure
        }
    }
}

/// The folder of the job's keeper.
pub(super) fn job_of(environment: &StageEnvironment) -> Result<(JobFolder, Token), String> {
    match (environment.token, &environment.state) {
        (Some(token), Some(state)) => Ok((JobFolder::of(state, token), token)),
        _ => Err(
            "the job's token is missing: config.toml must have `config_exec` and `config_args` that call \
                  `pipeline-lock executor config`, which hands it to the other stages"
                .into(),
        ),
    }
}

fn run_in(
    folder: &JobFolder,
    token: Token,
    script: &Path,
    stage: &str,
    log: &mut JobLog<io::Stdout>,
) -> anyhow::Result<StageExit> {
    let signals = Signals::handle()?;
    let connected = Connection::open(folder).and_then(|connection| Ok((connection, folder.open_deadline()?)));
    let Ok((connection, deadline)) = connected else {
        anyhow::bail!(
            "the keeper of this job is gone, and with it the proof that the job holds its lock: stage {stage} \
             is not run. The job's log of the runner and {} tell more; retry the job",
            folder.log().display()
        );
    };
    if let Some(driver) = folder.read_record()?.driver {
        let place = inner::Place { connection: &connection, folder, token, signals: &signals };
        let block = inner::block(&driver.run, &[script.into(), stage.into()]);
        return inner::run(&place, stage, &block, Limits::of(&driver, None), log);
    }
    let (source, sink) = pipe_with(PipeFlags::CLOEXEC)?;
    let block = CommandBlock::from_here(vec![OsString::from(script)], script_environment()).to_memory()?;
    let ask = Ask::Run { version: VERSION, stage: stage.to_owned() };
    connection.ask(&ask, &[block.as_fd(), sink.as_fd(), sink.as_fd()])?;
    drop((block, sink));
    let end = supervise(Supervision {
        connection: &connection,
        deadline,
        token,
        keeper: connection.keeper(folder),
        relays: vec![Relay::new(source, Sink::Output)],
        limits: None,
        signals: &signals,
        in_terminal: false,
        notice: &mut |message, calm| log.notice(message, calm),
    })?;
    if let End::Exited { lost: None, left: Some(left), .. } = &end {
        leave_sentinel(folder, token, left);
    }
    Ok(match end {
        End::Exited { lost: Some(_), .. } => StageExit::SystemFailure,
        End::Exited { code: 0, .. } => StageExit::Success,
        End::Exited { code, .. } => StageExit::BuildFailure(code),
        End::Refused { message, .. } => {
            log.failure(&message);
            StageExit::SystemFailure
        }
        End::KeeperDied => {
            log.failure(
                "the job's keeper was killed; the job's processes were ended, now its lock is given back",
            );
            if !bury_now(folder, token) {
                log.failure("the lock is not given back yet: cleanup does that, or the host's next job");
            }
            StageExit::SystemFailure
        }
        // Only who has limits comes to the last two.
        End::KeeperStalled | End::TimedOut { .. } | End::Deaf => {
            log.failure("the lock could not be proven to be held any longer; the job's processes were ended");
            StageExit::SystemFailure
        }
    })
}
