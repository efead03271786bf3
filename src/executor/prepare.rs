//! The prepare stage: decides on the locks, starts the job's keeper, and tells the job's log how it gets on.

use std::{io, time::Duration};

use signal_hook::consts::{SIGHUP, SIGQUIT};
use tracing::{info, warn};

use super::{
    Limits, OBSOLETE, Signals, StageEnvironment, StageExit, Woken, bury_forsaken, inner, requeued,
    run::job_of, run_as::scripts_of,
};
use crate::{
    client::Found,
    config::{Config, Decision, JobFacts, JobVariables, decide},
    host::clock::hostname,
    keeper::{
        Ask, Connection, JobFolder, Last, Launch, LockWish, Scripts, Tell, Terms, VERSION, newest_try,
        open_here, spawn, wait_for_end, wait_for_farewell,
    },
    lock::{Owner, Token, Who},
    report::{JobLog, with_causes},
};

/// How long an older try of the same job may take to end.
const YIELD_PATIENCE: Duration = Duration::from_secs(30);

/// How long leaving the queue may take, once told to.
const LEAVE_PATIENCE: Duration = Duration::from_secs(20);

/// How often a job that waits writes something: the runner hears that its job was cancelled with the answer to
/// what it sends on, and else only once in a while.
const PULSE: Duration = Duration::from_secs(3);

type Log = JobLog<io::Stdout>;

/// Why prepare fails.
enum Failure {
    /// The job's: it is not tried again.
    Job(String),
    /// Ours, or the host's: the runner tries again.
    System(String),
    /// It has waited long enough and is to start anew by its `retry:`.
    Requeue(String),
    /// A newer pipeline has made it obsolete.
    Obsolete(String),
    /// prepare was told to end.
    Told,
    /// The wrapped driver's.
    Driver(StageExit),
}

/// Gets the job's locks, with `config` as it was read.
pub fn prepare(environment: &StageEnvironment, config: Result<Config, String>) -> StageExit {
    let mut log = JobLog::new(io::stdout(), true);
    let result =
        config.map_err(Failure::System).and_then(|config| prepare_job(environment, &config, &mut log));
    log.close_section();
    match result {
        Ok(()) => StageExit::Success,
        Err(Failure::Job(message)) => {
            log.failure(&message);
            StageExit::BuildFailure(1)
        }
        Err(Failure::System(message)) => {
            log.failure(&message);
            StageExit::SystemFailure
        }
        Err(Failure::Requeue(message)) => {
            log.failure(&format!(
                "{message}\nthe job ends as by a failure of its runner: its `retry:` starts it anew"
            ));
            requeued::note(environment, &message);
            StageExit::SystemFailure
        }
        Err(Failure::Obsolete(message)) => {
            log.failure(&message);
            StageExit::BuildFailure(OBSOLETE)
        }
        Err(Failure::Driver(exit)) => exit,
        Err(Failure::Told) => {
            log.note("told to end while waiting: the queue is left");
            StageExit::SystemFailure
        }
    }
}

fn prepare_job(environment: &StageEnvironment, config: &Config, log: &mut Log) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::System(error.to_string());
    let signals = Signals::handle().map_err(system)?;
    let (folder, token) = job_of(environment).map_err(Failure::System)?;
    let file = environment.job_response_file.as_deref().ok_or_else(|| {
        Failure::System(
            "JOB_RESPONSE_FILE is not set: the stages are run by GitLab Runner, or by \
                         `pipeline-lock try`"
                .into(),
        )
    })?;
    let facts = JobFacts::read(file).map_err(|error| Failure::System(error.to_string()))?;
    if let Some(message) = requeued::look(&folder, &facts) {
        return Err(Failure::System(message));
    }
    let variables = JobVariables::from_environment(std::env::vars_os());
    let decision = decide(config, &facts, &variables).map_err(|error| Failure::Job(error.to_string()))?;
    decision.notes.iter().for_each(|note| log.note(note));
    if decision.locks.is_empty() {
        log.note(&decision.why);
    }
    let scripts = match &config.driver {
        Some(_) => None,
        None => Some(scripts_of(config, log).map_err(Failure::System)?),
    };
    let mut launch = launch_of(environment, config, &facts, &decision, token, scripts);
    launch.replaces = end_older_try(&launch).map_err(Failure::System)?;
    let cleanup = config.driver.as_ref().and_then(|driver| driver.cleanup.as_ref());
    let rites = cleanup.map(|cleanup| inner::block(cleanup, &[]));
    let connection = spawn(&launch, rites.as_ref())
        .map(Connection::of)
        .map_err(|error| Failure::System(error.to_string()))?;
    // While the keeper is on its way to the locks.
    bury_forsaken(&launch.state, token);
    follow(&connection, &signals, log)?;
    if let Some(driver) = &config.driver
        && let Some(prepare) = &driver.prepare
    {
        let place = inner::Place { connection: &connection, folder: &folder, token, signals: &signals };
        let limits = Limits::of(driver, Some(driver.prepare_timeout));
        let ended = inner::run(&place, "prepare", &inner::block(prepare, &[]), limits, log);
        return match ended.map_err(|error| Failure::System(with_causes(&error)))? {
            StageExit::Success | StageExit::Verbatim(0) => Ok(()),
            exit => Err(Failure::Driver(exit)),
        };
    }
    Ok(())
}

fn launch_of(
    environment: &StageEnvironment,
    config: &Config,
    facts: &JobFacts,
    decision: &Decision,
    token: Token,
    scripts: Option<Scripts>,
) -> Launch {
    let instance = facts.host.clone().unwrap_or_default();
    let pipeline = facts.pipeline_owner(decision.parent);
    let wish = |lock| LockWish::of(lock, pipeline.as_ref(), decision.release_after);
    let locks = decision.locks.iter().map(wish).collect();
    Launch {
        version: VERSION,
        token,
        owner: Owner::job(&instance, facts.job_id),
        who: Who {
            project: facts.project_path.clone().unwrap_or_default(),
            job: facts.job_name.clone().unwrap_or_default(),
            job_id: facts.job_id,
            pipeline: facts.pipeline_id.unwrap_or(0),
            user: facts.user.clone().unwrap_or_default(),
            url: facts.job_url.clone().unwrap_or_default(),
            host: hostname(),
        },
        locks,
        pipeline,
        beside: Vec::new(),
        max_waiting: config.max_waiting,
        replaces: None,
        store: config.store.clone(),
        state: config.state.clone(),
        terms: terms_of(config),
        runner: environment.runner,
        // Where the runner starts its stages; TMPDIR is the same unless a wrapped driver sets another one.
        tmpdir: environment.tmpdir.clone(),
        job_timeout: facts.timeout,
        scripts,
        driver: config.driver.clone(),
        in_session: false,
    }
}

/// How a keeper does its work, as the file says.
pub fn terms_of(config: &Config) -> Terms {
    Terms {
        lease: config.lease,
        heartbeat: config.heartbeat,
        kill_grace: config.kill_grace,
        survivors: config.survivors,
        on_lost: config.on_lost,
        orphan: config.orphan,
        history: config.history,
    }
}

/// A retried prepare: the older try's processes are ended first, then its place or hold is this one's.
fn end_older_try(launch: &Launch) -> Result<Option<Token>, String> {
    let Some(older) = newest_try(&launch.state, &launch.owner).filter(|older| *older != launch.token) else {
        return Ok(None);
    };
    info!(%older, "an older try of this job is taken over");
    let folder = JobFolder::of(&launch.state, older);
    if let Ok(connection) = Connection::open(&folder) {
        let patience = YIELD_PATIENCE + cleanup_time(&folder);
        let yielded = connection.ask(&Ask::Yield, &[]).and_then(|()| wait_for_end(&connection, patience));
        if let Err(error) = yielded {
            return Err(format!(
                "an older try of this job (its keeper: {}) does not end: {error}",
                folder.path().display()
            ));
        }
        return Ok(Some(older));
    }
    let here = open_here(&launch.store, &launch.state).map_err(|error| with_causes(&error))?;
    match here.bury(older) {
        Found::Buried(grave) => {
            let _ = std::fs::remove_dir_all(folder.path());
            grave.remove().map_err(|error| error.to_string())?;
            Ok(Some(older))
        }
        Found::Alive | Found::Missing => {
            warn!(%older, "the older try can't be shown to be dead: this one queues like any other job");
            Ok(None)
        }
    }
}

/// How long the cleanup of the driver that an older try wraps may take.
fn cleanup_time(folder: &JobFolder) -> Duration {
    let driver = folder.read_record().ok().and_then(|record| record.driver);
    driver.map_or(Duration::ZERO, |driver| driver.cleanup_timeout + driver.graceful_kill + driver.force_kill)
}

/// Passes on what the keeper tells, until the locks are held.
fn follow(connection: &Connection, signals: &Signals, log: &mut Log) -> Result<(), Failure> {
    loop {
        let minds = |number| number != SIGQUIT && number != SIGHUP;
        let woken = signals.or_heard(connection.stream(), Some(PULSE), minds);
        match woken.map_err(|error| Failure::System(error.to_string()))? {
            Woken::Told(_) => return leave(connection),
            Woken::Quiet => {
                log.pulse();
                continue;
            }
            Woken::Heard => {}
        }
        let heard = connection.hear().map_err(|error| Failure::System(error.to_string()))?;
        match heard {
            None => {
                return Err(Failure::System(
                    "the job's keeper has died; its log is in the state folder".into(),
                ));
            }
            Some(Tell::News(news)) => log.progress(&news),
            Some(Tell::Notice { message, calm }) => log.notice(&message, calm),
            Some(Tell::Ready { locks }) => {
                for lock in locks {
                    log.acquired(lock.name.as_str(), lock.fence, lock.place.as_deref(), lock.waited);
                }
                return Ok(());
            }
            Some(Tell::Failed { message, last: Last::Requeue, .. }) => return Err(Failure::Requeue(message)),
            Some(Tell::Failed { message, last: Last::Obsolete, .. }) => {
                return Err(Failure::Obsolete(message));
            }
            Some(Tell::Failed { message, ours: true, .. }) => return Err(Failure::System(message)),
            Some(Tell::Failed { message, ours: false, .. }) => return Err(Failure::Job(message)),
            Some(_) => {}
        }
    }
}

fn leave(connection: &Connection) -> Result<(), Failure> {
    let left = connection.ask(&Ask::Leave, &[]).and_then(|()| wait_for_farewell(connection, LEAVE_PATIENCE));
    match left {
        Ok(farewell) if farewell.failed.is_empty() => Err(Failure::Told),
        Ok(farewell) => Err(Failure::System(farewell.failed.join("\n"))),
        Err(error) => {
            let text = format!("the queue could not be left yet ({error}); the job's keeper goes on trying");
            Err(Failure::System(text))
        }
    }
}
