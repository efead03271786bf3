//! Giving a job's locks back, each for itself: what becomes of one does not hold up another.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinSet;

use super::protocol::Farewell;
use crate::{
    client::{Client, Given, Hold, Parting},
    lock::{LockName, LockState, Token},
};

/// How long a store that does not take a lock back is tried. The lease is over long before; but who comes
/// after it finds the lock free at once if it was given back, and else has to watch a dead hold for a lease.
const STUBBORN_FOR: Duration = Duration::from_secs(600);

/// The locks of one job on their way back.
pub(super) struct GivingBack {
    client: Client,
    token: Token,
    locks: Vec<Lock>,
    slow: Slow,
}

/// One of them.
struct Lock {
    name: LockName,
    /// The document as it was seen last, of a lock that is held.
    known: Option<LockState>,
    parting: Parting,
}

/// How far it is, for those who don't want to wait any longer.
#[derive(Clone, Default)]
pub(super) struct Slow(Arc<Mutex<Vec<(LockName, State)>>>);

#[derive(Clone, PartialEq)]
enum State {
    Trying(String),
    Released,
    /// It stands for the pipeline's next job.
    Kept,
    /// There was only a place to leave, or nothing at all.
    Left,
    Failed(String),
}

impl GivingBack {
    /// The holds, and what of `names` is not held: a place in a queue, or a write on its way.
    pub(super) fn new(client: Client, token: Token, holds: Vec<Hold>, names: Vec<LockName>) -> Self {
        let held = |hold: Hold| {
            let parting = hold.parting();
            let (name, _, known) = hold.let_go();
            Lock { name, known: Some(known), parting }
        };
        let mut locks: Vec<Lock> = holds.into_iter().map(held).collect();
        for name in names {
            // A store that has refused all would be asked for ten minutes to take back what it never gave.
            if !locks.iter().any(|held| held.name == name) && client.may_have_left(&name, token) {
                locks.push(Lock { name, known: None, parting: Parting::Alone });
            }
        }
        let slow = Slow::default();
        for lock in &locks {
            slow.note(&lock.name, State::Trying("the store has not answered yet".into()));
        }
        Self { client, token, locks, slow }
    }

    /// A view of how far it is.
    pub(super) fn slow(&self) -> Slow {
        self.slow.clone()
    }

    /// Gives everything back.
    pub(super) async fn all(self) -> Farewell {
        let until = self.client.clock().now().plus(STUBBORN_FOR);
        let mut under_way = JoinSet::new();
        for Lock { name, known, parting } in self.locks {
            let (client, token, slow) = (self.client.clone(), self.token, self.slow.clone());
            under_way.spawn(async move {
                let was_held = known.is_some();
                let trouble = |error: &_| slow.note(&name, State::Trying(format!("{error}")));
                let result = client.withdraw_until(&name, token, known, parting, until, trouble).await;
                slow.note(
                    &name,
                    match result {
                        Ok(Given::Kept) => State::Kept,
                        Ok(Given::Back) if was_held => State::Released,
                        Ok(Given::Back) => State::Left,
                        Err(error) => State::Failed(error.to_string()),
                    },
                );
            });
        }
        while under_way.join_next().await.is_some() {}
        self.slow.farewell()
    }
}

impl Slow {
    fn note(&self, name: &LockName, state: State) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match list.iter_mut().find(|(of, _)| of == name) {
            Some(entry) => entry.1 = state,
            None => list.push((name.clone(), state)),
        }
    }

    /// What has become of the locks up to now.
    pub(super) fn farewell(&self) -> Farewell {
        let mut farewell = Farewell::default();
        for (name, state) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            match state {
                State::Released => farewell.released.push(name.clone()),
                State::Kept => farewell.kept.push(name.clone()),
                State::Left => {}
                State::Failed(why) => farewell.failed.push(why.clone()),
                State::Trying(why) => farewell.failed.push(format!(
                    "lock {name} could not be given back yet: {why}; this host goes on trying, and the lock \
                     is free at the latest when its lease ends"
                )),
            }
        }
        farewell
    }
}
