//! Keeping a lock from everyone for a while.

use std::time::Duration;

use tracing::info;

use super::{Client, Held};
use crate::{
    lock::{EpochMs, Holder, How, LockName, LockState, Owner, Request, Reserving, Term, Token, Who},
    store::{Consistency, Expected, StoreError, Swap},
};

/// A reservation that somebody wants.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Its token, by which it is released.
    pub token: Token,
    /// Who reserves, for people; `who.user` is whose it is.
    pub who: Who,
    /// Why, for those who wait.
    pub reason: String,
    /// How long; `None`: until it is released.
    pub lasting: Option<Duration>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reserved {
    /// The lock's document.
    pub state: LockState,
    /// When it ends by itself, by the store's clock.
    pub until: Option<EpochMs>,
    /// The reservation that it replaced.
    pub replaced: Option<Box<Held>>,
    /// A newer program wrote the document: nothing was reserved.
    pub is_newer: bool,
}

impl Client {
    /// Reserves `name`: nobody is granted it until the reservation is over or released. Who holds it goes on.
    ///
    /// # Errors
    /// Those of the store. After [`StoreError::Unanswered`] the reservation may stand: its token ends it.
    pub async fn reserve(&self, name: &LockName, wanted: &Reservation) -> Result<Reserved, StoreError> {
        // The store's clock is known after a reply.
        let mut current = self.store.read(name, Consistency::Strong).await?;
        let until = wanted.lasting.map(|lasting| self.store.now().plus(lasting));
        let request = Request {
            who: wanted.who.clone(),
            since: self.store.now(),
            ..Request::new(Owner::reservation(&wanted.who.user), wanted.token, Term::Static { until })
        };
        let (mut replaced, mut was_unanswered) = (None, false);
        loop {
            let (mut next, expected) = match &current {
                Some(state) => (state.clone(), Expected::This(state)),
                None => {
                    let seed = self.clock.wall();
                    (LockState::new(seed), Expected::Free { seed })
                }
            };
            let before = next.clone();
            match next.reserve(&request, &wanted.reason) {
                Reserving::Newer => {
                    return Ok(Reserved { state: next, until, replaced: None, is_newer: true });
                }
                // A write of ours that was not answered has brought it.
                Reserving::Reserved if next == before => {
                    return Ok(self.reserved(name, next, until, replaced));
                }
                Reserving::Reserved => replaced = None,
                Reserving::Replaced(old) => replaced = Some((before, *old)),
            }
            if current.is_some() {
                next.seal(self.clock.wall());
            }
            match self.store.swap(name, expected, &next).await {
                Ok(Swap::Conflict(other)) => current = other,
                Ok(Swap::Swapped(state)) => return Ok(self.reserved(name, state, until, replaced)),
                Err(StoreError::Unanswered(why)) if !was_unanswered => {
                    info!(lock = %name, %why, "the reservation was not answered: it is looked for");
                    was_unanswered = true;
                    let read = self.store.read(name, Consistency::Strong).await;
                    current = read.map_err(|error| StoreError::Unanswered(error.to_string()))?;
                }
                Err(error) if was_unanswered => return Err(StoreError::Unanswered(error.to_string())),
                Err(error) => return Err(error),
            }
        }
    }

    fn reserved(
        &self,
        name: &LockName,
        state: LockState,
        until: Option<EpochMs>,
        replaced: Option<(LockState, Holder)>,
    ) -> Reserved {
        self.ring(name, 1);
        let replaced = replaced.map(|(before, old)| {
            self.record_removal(name, &before, &old, How::Forced);
            Box::new(Held::of(&before, &old))
        });
        Reserved { state, until, replaced, is_newer: false }
    }

    /// Ends the reservation of `name`: that of `token`, or anybody's. The result is the one that was ended.
    pub async fn end_reservation(
        &self,
        name: &LockName,
        token: Option<Token>,
    ) -> Result<Option<Held>, StoreError> {
        let mut ended = None;
        self.change(name, None, |state| {
            let reservation = state.reservation().filter(|h| token.is_none_or(|token| h.token == token));
            ended = reservation.cloned().map(|holder| (state.clone(), holder));
            ended.as_ref().is_some_and(|(_, holder)| state.release(holder.token))
        })
        .await?;
        Ok(ended.map(|(before, holder)| {
            let how = if token.is_some() { How::Released } else { How::Forced };
            self.record_removal(name, &before, &holder, how);
            Held::of(&before, &holder)
        }))
    }
}
