//! The keeper's connections: one thread reads each, and all that is heard becomes an event of the service.

use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, warn};

use super::{
    protocol::{Ask, Tell},
    service::Event,
    wire,
};
use crate::host::{peer::Peer, process::ProcId};

/// A stage that does not read for this long is given up: the keeper waits for nobody.
const SEND_PATIENCE: Duration = Duration::from_millis(500);

/// The stack of a thread that reads a connection.
const STACK: usize = 128 * 1024;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    id: u64,
    stream: Arc<UnixStream>,
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Link {
    /// Takes a connection over: what it hears goes to `events`.
    pub(super) fn adopt(stream: UnixStream, events: UnboundedSender<Event>) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        stream.set_write_timeout(Some(SEND_PATIENCE))?;
        let link = Self { id: NEXT.fetch_add(1, Ordering::Relaxed), stream: Arc::new(stream) };
        let reader = link.clone();
        thread::Builder::new().name("link".into()).stack_size(STACK).spawn(move || reader.read(&events))?;
        Ok(link)
    }

    /// Tells something; a stage that has gone or does not read misses it.
    pub(super) fn tell(&self, tell: &Tell) {
        if let Err(error) = wire::send(&self.stream, tell, &[]) {
            debug!(%error, "a stage did not hear");
        }
    }

    /// The process on the other side.
    pub(super) fn peer(&self) -> Option<crate::host::process::Pid> {
        Peer::of(&*self.stream).ok().and_then(|peer| peer.pid)
    }

    /// Whether the process on the other side lives.
    pub(super) fn is_alive(&self) -> bool {
        self.peer().and_then(ProcId::of).is_some()
    }

    fn read(&self, events: &UnboundedSender<Event>) {
        loop {
            let heard: Result<Option<(Ask, Vec<OwnedFd>)>, _> = wire::receive(&self.stream);
            let event = match heard {
                Ok(Some((ask, fds))) => Event::Heard { from: self.clone(), ask, fds },
                Ok(None) => Event::Closed { from: self.clone() },
                Err(error) => {
                    debug!(%error, "a connection broke");
                    Event::Closed { from: self.clone() }
                }
            };
            let is_last = matches!(event, Event::Closed { .. });
            if events.send(event).is_err() || is_last {
                return;
            }
        }
    }
}

/// Accepts connections of this keeper's own user (and of root) for as long as the process lives.
pub(super) fn listen(listener: UnixListener, events: UnboundedSender<Event>) -> std::io::Result<()> {
    thread::Builder::new().name("listen".into()).stack_size(STACK).spawn(move || {
        for stream in listener.incoming() {
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            match Peer::of(&stream) {
                Ok(peer) if peer.is_trusted() => {
                    if let Err(error) = Link::adopt(stream, events.clone()) {
                        warn!(%error, "a connection can't be served");
                    }
                }
                Ok(peer) => warn!(uid = peer.uid, "another user's connection was refused"),
                Err(error) => warn!(%error, "a connection of an unknown user was refused"),
            }
        }
    })?;
    Ok(())
}
