//! `exec`: a command under its locks. The keeper holds the locks and runs the command in this process's session and
//! terminal; this process is the dead man's switch.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::Command,
};

use uuid::Uuid;

use super::{
    Exit,
    args::ExecArgs,
    around::{Around, Counts},
    here_job::{HereJob, who_outside},
    main::runtime,
    store_args::StoreArgs,
    variables::AROUND,
    wanted::wanted,
};
use crate::{
    client::MARKER,
    config::{Config, Orphan, WantedLock},
    executor::{End, Signals, Supervision, Woken, bury_forsaken, leave_sentinel, supervise, terms_of},
    host::process::ProcId,
    keeper::{
        Ask, CommandBlock, Connection, JobFolder, Last, Launch, LockWish, Tell, Terms, VERSION, bury_within,
        spawn, wait_for_farewell,
    },
    lock::{Owner, Token},
    report::JobLog,
};

/// How long leaving the queue, or the release at the end, may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// How long a dead keeper is tried to be buried.
const BURIAL: std::time::Duration = std::time::Duration::from_secs(20);

type Log = JobLog<io::Stderr>;

/// Runs the command under its locks.
pub fn run(args: ExecArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let around = Around::find(job.as_ref())?;
    let mut decision = wanted(&args.name, &args.manner, args.wait, job.as_ref(), config)?;
    let store = args.store.store(config)?;
    let mut log = JobLog::new(io::stderr(), false);
    if around.is_there() {
        leave_out_held(&mut decision.locks, &around, &args.store, config, &mut log)?;
        if decision.locks.is_empty() {
            return Ok(run_as_it_is(&args.command, &mut log));
        }
    }
    let token = Token::new(Uuid::new_v4());
    let wish = |lock| LockWish::of(lock, around.pipeline(), decision.release_after);
    let launch = Launch {
        version: VERSION,
        token,
        owner: Owner::alone(token),
        who: job.as_ref().map_or_else(|| who_outside(&program_of(&args.command)), HereJob::who),
        locks: decision.locks.iter().map(wish).collect(),
        pipeline: around.pipeline().cloned(),
        beside: around.owners(),
        max_waiting: None,
        replaces: None,
        store,
        state: config.state.clone(),
        terms: Terms { orphan: Orphan::Stop, ..terms_of(config) },
        runner: Some(ProcId::me()),
        tmpdir: None,
        job_timeout: None,
        scripts: None,
        driver: None,
        in_session: true,
    };
    let signals = Signals::handle()?;
    let connection = Connection::of(spawn(&launch, None)?);
    if env::var_os(MARKER).is_none() {
        // In a job the host's prepare has just done so, and what this starts would be the job's, and end with it.
        bury_forsaken(&config.state, token);
    }
    if let Some(exit) = wait_for_lock(&connection, &signals, &mut log)? {
        return Ok(exit);
    }
    let folder = JobFolder::of(&config.state, token);
    let command = CommandBlock::from_here(args.command, environment(&around));
    let exit = run_command(&connection, &folder, token, &command, &signals, &mut log)?;
    // A keeper that is dead was buried by now; any other gives the lock back and ends.
    if connection.ask(&Ask::End, &[]).is_ok() {
        match wait_for_farewell(&connection, PATIENCE) {
            Ok(farewell) => farewell.failed.iter().for_each(|why| log.failure(why)),
            Err(error) => log.failure(&format!("the lock is not known to be released: {error}")),
        }
    }
    Ok(exit)
}

/// Takes out what is held around this process already: to wait for that would be to wait for oneself.
fn leave_out_held(
    locks: &mut Vec<WantedLock>,
    around: &Around,
    store: &StoreArgs,
    config: &Config,
    log: &mut Log,
) -> anyhow::Result<()> {
    let held = runtime()?.block_on(async {
        let client = store.client(config).await?;
        anyhow::Ok(around.take_out_held(locks, &client, Counts::Acquire).await)
    })?;
    for (name, by) in held {
        log.note(&format!("lock {name} is held already by {by}; exec takes it no second time"));
    }
    Ok(())
}

/// Becomes the command, which needs no lock of its own.
fn run_as_it_is(command: &[OsString], log: &mut Log) -> Exit {
    let Some((program, words)) = command.split_first() else { return Exit::Code(126) };
    let error = Command::new(program).args(words).exec();
    log.failure(&format!("`{}` can't be started: {error}", program.to_string_lossy()));
    Exit::Code(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// What the command has of this process's environment, and those under whom it runs already.
fn environment(around: &Around) -> Vec<(OsString, OsString)> {
    let of_here = env::vars_os().filter(|(key, _)| key != MARKER && key != AROUND);
    let around = around.for_the_command().map(|(key, value)| (key.into(), value.into()));
    of_here.chain(around).collect()
}

/// The name of the program: others read it, and a command's words can hold secrets.
fn program_of(command: &[OsString]) -> String {
    let program = command.first().and_then(|program| Path::new(program).file_name());
    program.unwrap_or_default().to_string_lossy().chars().take(80).collect()
}

/// Waits until the lock is held; the exit if it will not be.
fn wait_for_lock(connection: &Connection, signals: &Signals, log: &mut Log) -> anyhow::Result<Option<Exit>> {
    loop {
        if let Woken::Told(number) = signals.or_heard(connection.stream(), None, |_| true)? {
            log.note("told to end while waiting: the queue is left");
            connection.ask(&Ask::Leave, &[])?;
            wait_for_farewell(connection, PATIENCE)?.failed.iter().for_each(|why| log.failure(why));
            return Ok(Some(Exit::Code(128 + u8::try_from(number)?)));
        }
        match connection.hear()? {
            None => anyhow::bail!("the keeper has died; its log is in the state folder"),
            Some(Tell::News(news)) => log.progress(&news),
            Some(Tell::Notice { message, calm }) => log.notice(&message, calm),
            Some(Tell::Ready { .. }) => return Ok(None),
            Some(Tell::Failed { message, ours, last }) => {
                log.failure(&message);
                let _ = connection.ask(&Ask::Leave, &[]);
                return Ok(Some(match last {
                    Last::Obsolete => Exit::Obsolete,
                    // Nobody starts an `exec` anew: it has waited in vain.
                    Last::Requeue => Exit::NotGot,
                    Last::No if ours => Exit::Unusable,
                    Last::No => Exit::NotGot,
                }));
            }
            Some(_) => {}
        }
    }
}

fn run_command(
    connection: &Connection,
    folder: &JobFolder,
    token: Token,
    command: &CommandBlock,
    signals: &Signals,
    log: &mut Log,
) -> anyhow::Result<Exit> {
    let block = command.to_memory()?;
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let ask = Ask::Run { version: VERSION, stage: "exec".into() };
    connection.ask(&ask, &[block.as_fd(), output.as_fd(), error.as_fd(), input.as_fd()])?;
    let end = supervise(Supervision {
        connection,
        deadline: folder.open_deadline()?,
        token,
        keeper: connection.keeper(folder),
        relays: Vec::new(),
        limits: None,
        signals,
        in_terminal: input.is_terminal(),
        notice: &mut |message, calm| log.notice(message, calm),
    })?;
    if let End::Exited { left: Some(left), .. } = &end {
        // What it left behind is ended now, and until then nobody but the keeper watches over it.
        leave_sentinel(folder, token, left);
    }
    Ok(match end {
        End::Exited { lost: Some(_), .. } => Exit::Lost,
        End::Exited { code, .. } => Exit::Code(u8::try_from(code & 0xff)?),
        End::Refused { message, is_missing } => {
            log.failure(&message);
            Exit::Code(if is_missing { 127 } else { 126 })
        }
        End::KeeperDied => {
            log.failure(
                "the keeper of the lock was killed; the command was ended, now the lock is given back",
            );
            // No cleanup stage comes after this.
            if !bury_within(BURIAL, folder, token) {
                log.failure("the lock is not given back yet: the host's next job, or `exec`, does that");
            }
            Exit::Lost
        }
        // Only who has limits comes to these.
        End::TimedOut { .. } | End::Deaf => Exit::Lost,
        End::KeeperStalled => {
            log.failure("the lock could not be proven to be held any longer; the command was ended");
            Exit::Lost
        }
    })
}
