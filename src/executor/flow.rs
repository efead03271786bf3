//! One stream of a command on its way to the stage's own output: when to move it, and when it is all moved.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use super::relay::{Moved, Relay};

/// A relay, and what is known of its two ends.
#[derive(Debug)]
pub(super) struct Flow {
    /// None: the command's side is closed.
    relay: Option<Relay>,
    /// There is something, but no room for it.
    waits_for_room: bool,
    /// After the drain: what was in the pipe at its end and still has to go on, however slow its reader is.
    owed: Option<usize>,
}

impl Flow {
    pub(super) const fn new(relay: Relay) -> Self {
        Self { relay: Some(relay), waits_for_room: false, owed: None }
    }

    /// What to poll, if anything is still to come.
    pub(super) fn to_poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let relay = self.relay.as_ref()?;
        let room = self.waits_for_room && relay.needs_room();
        Some(if room { (relay.sink(), PollFlags::OUT) } else { (relay.source(), PollFlags::IN) })
    }

    /// What was polled is ready.
    pub(super) fn ready(&mut self) {
        let Some(relay) = &mut self.relay else { return };
        if !self.waits_for_room && relay.needs_room() && !relay.has_room() {
            self.waits_for_room = true;
            return;
        }
        self.waits_for_room = false;
        match relay.step() {
            Moved::Some(bytes) => self.owed = self.owed.map(|owed| owed.saturating_sub(bytes)),
            Moved::Nothing => {}
            Moved::End => self.relay = None,
        }
    }

    /// Whether nothing more can come.
    pub(super) const fn is_closed(&self) -> bool {
        self.relay.is_none()
    }

    /// The time for draining is over: whether what there was then is moved by now.
    pub(super) fn is_paid(&mut self) -> bool {
        let Some(relay) = &self.relay else { return true };
        *self.owed.get_or_insert_with(|| relay.pending()) == 0
    }
}
