//! Obsolete deployments: while a newer pipeline of the same line holds a lock or waits for it, an older one
//! does not wait.

use super::{Line, LockState, MAX_NEWEST, Request, Waiter};

/// What a queue was before somebody lost a place.
pub(super) struct Before {
    queue: Vec<Waiter>,
    newest: Vec<Line>,
}

impl LockState {
    /// The pipeline that makes `request` obsolete: a newer one of its line that holds or waits. Who holds
    /// already goes on, and so do those who join their pipeline's hold.
    pub(super) fn obsolete_by(&self, request: &Request) -> Option<u64> {
        let own = request.line.as_ref().filter(|_| !self.joins(request))?;
        let holders = self.holders.iter().filter_map(|h| h.line.as_ref());
        let lines = holders.chain(self.queue.iter().filter_map(|w| w.line.as_ref()));
        lines.filter(|line| line.is_newer_than(own)).map(|line| line.pipeline).max()
    }

    /// Takes the place of an obsolete request itself, and leaves word for its next look.
    pub(super) fn leave_obsolete(&mut self, request: &Request, by: u64) {
        let waits = self.waiter(request.token).is_some();
        self.queue.retain(|w| w.token != request.token);
        if let Some(line) = request.line.clone().filter(|_| waits) {
            self.note_newest(Line { pipeline: by, ..line });
        }
    }

    /// Takes their places from the waiters that `request` makes obsolete, and notes that for them. The result
    /// is what there was, if there was one.
    pub(super) fn supersede(&mut self, request: &Request) -> Option<Before> {
        let own = request.line.as_ref()?;
        let joins = |w: &Waiter| w.owner.has_members() && self.holders.iter().any(|h| h.owner == w.owner);
        let is_obsolete =
            |w: &Waiter| w.line.as_ref().is_some_and(|line| own.is_newer_than(line)) && !joins(w);
        if !self.queue.iter().any(is_obsolete) {
            return None;
        }
        let before = Before { queue: self.queue.clone(), newest: self.newest.clone() };
        self.queue = before.queue.iter().filter(|w| !is_obsolete(w)).cloned().collect();
        self.note_newest(own.clone());
        Some(before)
    }

    /// Leaves word for those of `line` whose places are gone.
    fn note_newest(&mut self, mut line: Line) {
        let known = self.newest.iter().find(|known| known.is_newer_than(&line));
        line.pipeline = known.map_or(line.pipeline, |known| known.pipeline);
        self.newest.retain(|known| known.key != line.key);
        self.newest.push(line);
        let excess = self.newest.len().saturating_sub(MAX_NEWEST);
        self.newest.drain(..excess);
    }

    /// Gives the places back: who took them did not get in.
    pub(super) fn undo(&mut self, before: Before) {
        (self.queue, self.newest) = (before.queue, before.newest);
    }

    /// The pipeline that took the place of `request`, as far as the document tells.
    pub(super) fn superseded_by(&self, request: &Request) -> Option<u64> {
        let own = request.line.as_ref().filter(|_| !self.joins(request))?;
        self.newest.iter().find(|line| line.is_newer_than(own)).map(|line| line.pipeline)
    }
}
