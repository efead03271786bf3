//! `exec`: a command under a lock. The keeper holds the lock and runs the command in this process's session and
//! terminal; this process is the dead man's switch.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use uuid::Uuid;

use super::{
    Exit,
    args::ExecArgs,
    here_job::{HereJob, lock_name, who_outside},
};
use crate::{
    client::MARKER,
    config::{Config, Orphan, WantedLock},
    executor::{End, Signals, Supervision, Woken, supervise, terms_of},
    host::process::ProcId,
    keeper::{
        Ask, CommandBlock, Connection, JobFolder, Launch, LockWish, Tell, Terms, VERSION, bury_now, spawn,
        wait_for_farewell,
    },
    lock::{Owner, Token},
    report::JobLog,
};

/// How long leaving the queue, or the release at the end, may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

type Log = JobLog<io::Stderr>;

/// Runs the command under its lock.
pub fn run(args: ExecArgs, config: &Config) -> anyhow::Result<Exit> {
    let job = HereJob::find();
    let name = lock_name(args.name.as_deref(), job.as_ref(), config)?;
    let token = Token::new(Uuid::new_v4());
    let launch = Launch {
        version: VERSION,
        token,
        owner: Owner::alone(token),
        who: job.as_ref().map_or_else(|| who_outside(&shown(&args.command)), HereJob::who),
        locks: vec![LockWish::of(&WantedLock::plain(name, args.wait.unwrap_or(config.wait)), None, false)],
        pipeline: None,
        max_waiting: None,
        replaces: None,
        store: args.store.store(config)?,
        state: config.state.clone(),
        terms: Terms { orphan: Orphan::Stop, ..terms_of(config) },
        runner: Some(ProcId::me()),
        tmpdir: None,
        job_timeout: None,
        scripts: None,
        driver: None,
        in_session: true,
    };
    let mut log = JobLog::new(io::stderr(), false);
    let signals = Signals::handle()?;
    let connection = Connection::of(spawn(&launch, None)?);
    if let Some(exit) = wait_for_lock(&connection, &signals, &mut log)? {
        return Ok(exit);
    }
    let folder = JobFolder::of(&config.state, token);
    let exit = run_command(&connection, &folder, token, args.command, &signals, &mut log)?;
    // A keeper that is dead was buried by now; any other gives the lock back and ends.
    if connection.ask(&Ask::End, &[]).is_ok() {
        match wait_for_farewell(&connection, PATIENCE) {
            Ok(farewell) => farewell.failed.iter().for_each(|why| log.failure(why)),
            Err(error) => log.failure(&format!("the lock is not known to be released: {error}")),
        }
    }
    Ok(exit)
}

fn shown(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ").chars().take(80).collect()
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
            Some(Tell::Ready { .. }) => return Ok(None),
            Some(Tell::Failed { message, ours, .. }) => {
                log.failure(&message);
                let _ = connection.ask(&Ask::Leave, &[]);
                return Ok(Some(if ours { Exit::Unusable } else { Exit::NotGot }));
            }
            Some(_) => {}
        }
    }
}

fn run_command(
    connection: &Connection,
    folder: &JobFolder,
    token: Token,
    command: Vec<OsString>,
    signals: &Signals,
    log: &mut Log,
) -> anyhow::Result<Exit> {
    let env = std::env::vars_os().filter(|(key, _)| key != MARKER).collect();
    let block = CommandBlock::from_here(command, env);
    let block = block.to_memory()?;
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let ask = Ask::Run { version: VERSION, stage: "exec".into() };
    connection.ask(&ask, &[block.as_fd(), output.as_fd(), error.as_fd(), input.as_fd()])?;
    let end = supervise(Supervision {
        connection,
        deadline: folder.open_deadline()?,
        token,
        relays: Vec::new(),
        limits: None,
        signals,
        in_terminal: input.is_terminal(),
        notice: &mut |message, calm| log.notice(message, calm),
    })?;
    Ok(match end {
        End::Exited { lost: Some(_), .. } => Exit::Lost,
        End::Exited { code, .. } => Exit::Code(u8::try_from(code & 0xff)?),
        End::Refused { message, is_missing } => {
            log.failure(&message);
            Exit::Code(if is_missing { 127 } else { 126 })
        }
        End::KeeperDied => {
            log.failure("the keeper of the lock was killed; the command was ended, the lock is given back");
            bury_now(folder, token);
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
