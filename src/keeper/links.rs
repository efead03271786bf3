//! The keeper's connections: one thread reads each, and hands on what it hears.

use std::{
    net::Shutdown,
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

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, warn};

use super::{
    protocol::{Ask, Tell},
    wire,
};
use crate::host::{peer::Peer, process::ProcId};

/// A stage that does not read for this long is given up: the keeper waits for nobody.
const SEND_PATIENCE: Duration = Duration::from_millis(500);

/// The stack of a thread that reads a connection.
const STACK: usize = 128 * 1024;

/// What comes over a connection: an ask with its descriptors; `None`: the other side has gone.
pub(super) type Heard = Option<(Ask, Vec<OwnedFd>)>;

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
    /// Takes a connection over: what it hears goes to `hear`.
    pub(super) fn adopt(
        stream: UnixStream,
        hear: impl Fn(Self, Heard) + Send + 'static,
    ) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        stream.set_write_timeout(Some(SEND_PATIENCE))?;
        let link = Self { id: NEXT.fetch_add(1, Ordering::Relaxed), stream: Arc::new(stream) };
        let reader = link.clone();
        thread::Builder::new().name("link".into()).stack_size(STACK).spawn(move || reader.read(&hear))?;
        Ok(link)
    }

    /// Tells something. A stage that does not read misses news, which others follow; if it misses a word of another kind,
    /// it hears nothing more than the connection's end: it would wait for ever for what it has missed.
    pub(super) fn tell(&self, tell: &Tell) {
        if matches!(tell, Tell::News(_)) && !self.has_room() {
            debug!("a stage does not read the news");
            return;
        }
        if let Err(error) = wire::send(&self.stream, tell, &[]) {
            debug!(%error, "a stage did not hear");
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether a small part only of what the kernel keeps for the other side is unread (unix(7): it is writable then).
    fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(&*self.stream, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// The process on the other side.
    pub(super) fn peer(&self) -> Option<crate::host::process::Pid> {
        Peer::of(&*self.stream).ok().and_then(|peer| peer.pid)
    }

    /// Whether the process on the other side lives.
    pub(super) fn is_alive(&self) -> bool {
        self.peer().and_then(ProcId::of).is_some()
    }

    fn read(&self, hear: &impl Fn(Self, Heard)) {
        loop {
            let heard: Heard = wire::receive(&self.stream).unwrap_or_else(|error| {
                debug!(%error, "a connection broke");
                let message = format!("the keeper can't take what it was sent ({error}); retry the job");
                self.tell(&Tell::Refused { message, is_missing: false });
                None
            });
            let is_last = heard.is_none();
            hear(self.clone(), heard);
            if is_last {
                // Others have this connection too: without this, who still waits on the other side would wait for ever.
                let _ = self.stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// Accepts connections of this keeper's own user (and of root) for as long as the process lives.
pub(super) fn listen(
    listener: UnixListener,
    hear: impl Fn(Link, Heard) + Clone + Send + 'static,
) -> std::io::Result<()> {
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
                    if let Err(error) = Link::adopt(stream, hear.clone()) {
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Instant};

    use super::*;
    use crate::client::Progress;

    fn connected() -> (Link, UnixStream, std::sync::mpsc::Receiver<bool>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (tell, heard) = channel();
        let hear = move |_, heard: Heard| {
            let _ = tell.send(heard.is_some());
        };
        (Link::adopt(ours, hear).unwrap(), theirs, heard)
    }

    fn hear(stream: &UnixStream) -> Option<Tell> {
        wire::receive(stream).unwrap().map(|(tell, _)| tell)
    }

    #[test]
    fn a_stage_that_was_stopped_for_long_hears_what_matters_and_the_keeper_waits_for_none_of_it() {
        let (link, stage, _heard) = connected();
        let (name, message) = ("shop/web".to_owned(), "no reply ".repeat(50));
        let news = Tell::News(Progress::Trouble { name, message });
        let started = Instant::now();
        (0..1000).for_each(|_| link.tell(&news));
        link.tell(&Tell::Ready { locks: Vec::new() });
        assert!(started.elapsed() < SEND_PATIENCE, "it took {:?}", started.elapsed());
        let last = loop {
            match hear(&stage) {
                Some(Tell::News(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(last, Some(Tell::Ready { .. })), "{last:?}");
    }

    #[test]
    fn who_misses_what_matters_hears_of_the_end_and_so_does_the_keeper() {
        let (link, stage, heard) = connected();
        let notice = Tell::Notice { message: "x".repeat(100_000), calm: true };
        (0..3).for_each(|_| link.tell(&notice));
        assert!(!heard.recv().unwrap(), "the stage is gone");
        let last = loop {
            match wire::receive::<Tell>(&stage) {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(last.map(|last| last.is_none()).unwrap_or(true), "the connection is at its end");
    }
}
