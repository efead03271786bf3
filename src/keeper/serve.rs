//! The keeper's process, from its start to its end.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use anyhow::Context;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tracing::{error, info};

use super::{
    cleaning::Cleaning,
    command::CommandBlock,
    estate::Estate,
    folder::JobFolder,
    links::{self, Link},
    locks,
    open::open_client,
    protocol::{Last, Launch, Tell, VERSION},
    service::{Event, Phase, Service},
    wire,
};
use crate::{
    client::Client,
    host::{clock::BootTime, subreaper},
    report::with_causes,
};

/// How long a thread for what blocks is kept when there is nothing for it: longer than any job.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves the job that prepare sends over standard input, until it is over.
pub fn serve() -> anyhow::Result<()> {
    let prepare = take_standard_input().context("the keeper's standard input is no socket of a stage")?;
    let (launch, rites): (Launch, _) = match wire::receive(&prepare)? {
        Some(received) => received,
        None => return Ok(()),
    };
    let rites = rites.first().map(CommandBlock::from_memory).transpose()?;
    let (folder, owner, token) =
        (JobFolder::of(&launch.state, launch.token), launch.owner.clone(), launch.token);
    let served = in_runtime(launch, rites, &prepare);
    if let Err(cause) = &served {
        if !folder.is_recorded() {
            // It has asked for nothing yet, and `exec` has no cleanup.
            folder.remove(&owner, token);
        }
        error!(error = with_causes(cause), "the keeper can't do its work");
        let failed = Tell::Failed { message: with_causes(cause), ours: true, last: Last::No };
        let _ = wire::send(&prepare, &failed, &[]);
    }
    served
}

fn in_runtime(launch: Launch, rites: Option<CommandBlock>, prepare: &UnixStream) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_keep_alive(FOR_EVER).build()?;
    // Names are looked up and files are locked by a thread beside this one. It is had now: where a job uses up all that
    // this host has to give, a new one could not be started, and without one each of those would be a panic.
    drop(runtime.spawn_blocking(|| ()));
    runtime.block_on(serve_launch(launch, rites, prepare.try_clone()?))
}

async fn serve_launch(
    launch: Launch,
    rites: Option<CommandBlock>,
    prepare: UnixStream,
) -> anyhow::Result<()> {
    anyhow::ensure!(launch.version == VERSION, "prepare speaks protocol {}, not {VERSION}", launch.version);
    info!(token = %launch.token, owner = %launch.owner, locks = ?launch.locks, "a keeper begins");
    subreaper::become_subreaper()?;
    let (events, inbox) = unbounded_channel();
    let (estate, listener) = Estate::open(&launch)?;
    let to_service = events.clone();
    let hear = move |from, heard| {
        let _ = to_service.send(match heard {
            Some((ask, fds)) => Event::Heard { from, ask, fds },
            None => Event::Closed { from },
        });
    };
    links::listen(listener, hear.clone())?;
    let prepare = Link::adopt(prepare, hear)?;
    let mut service = Service {
        phase: Phase::Holding,
        client: None,
        holds: Vec::new(),
        running: None,
        sentinel: None,
        frozen_since: None,
        held_back: None,
        ending: None,
        why_lost: None,
        unproven: Vec::new(),
        runner_gone: false,
        started: BootTime::now(),
        idle_since: BootTime::now(),
        looked: BootTime::now(),
        waiting_cleanups: Vec::new(),
        given_back: false,
        over: false,
        has_begun: false,
        cleaning: Cleaning::of(rites),
        launch,
        estate,
        events: events.clone(),
        prepare,
    };
    if service.launch.locks.is_empty() {
        service.ready();
    } else {
        match open_client(&service.launch.store, &service.launch.state).await {
            Ok(client) => {
                let client = client.with_history(service.launch.terms.history);
                service.client = Some(client.clone());
                service.phase = Phase::Acquiring(tokio::spawn(ask_for_locks(
                    client,
                    service.launch.clone(),
                    events.clone(),
                )));
            }
            Err(cause) => {
                service.estate.close();
                return Err(cause);
            }
        }
    }
    if let Some(runner) = service.launch.runner {
        tokio::spawn(async move {
            runner.ended().await;
            let _ = events.send(Event::RunnerGone);
        });
    }
    let (token, lease, locks) =
        (service.launch.token, service.launch.terms.lease, service.launch.locks.clone());
    if let Some(client) = service.run(inbox).await? {
        for wish in locks {
            client.take_back_late(&wish.name, token, lease).await;
        }
        client.recorded().await;
    }
    info!("the keeper ends");
    Ok(())
}

async fn ask_for_locks(client: Client, launch: Launch, events: UnboundedSender<Event>) {
    let news = |progress| {
        let _ = events.send(Event::News(progress));
    };
    let acquired = locks::acquire(client.clone(), launch, news).await;
    // The end of a job ends all that runs below its keeper. So it does not begin beside a dead one's cleanup, which this
    // process has called while it waited, and which is its own job's alone.
    if acquired.failure.is_none() && client.is_burying() {
        let _ = events.send(Event::BuriesFirst);
        client.burials_over().await;
    }
    let _ = events.send(Event::Acquired(acquired));
}

/// The connection that prepare left as standard input; the descriptor itself becomes `/dev/null`.
fn take_standard_input() -> io::Result<UnixStream> {
    let stream: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(stream))
}
