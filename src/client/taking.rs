//! From a request of the library to its guards: with a file that shows that this process lives, and with nothing left
//! behind when it does not come to that.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use uuid::Uuid;

use super::{
    AcquireError, Client, Guard, Hold, Lock, Locks, Parting, Progress, Wish, last_resort, staying::Staying,
};
use crate::{
    lock::{LockName, Owner, Token},
    store::StoreError,
};

/// Takes one lock.
pub(super) async fn one(
    client: &Client,
    lock: Lock,
    news: impl FnMut(Progress) + Send,
) -> Result<Guard, AcquireError> {
    let mut pending = Pending::begin(client, std::slice::from_ref(&lock))?;
    let request = lock.request(client, pending.token);
    let options = lock.options(lock.owner().cloned().into_iter().collect());
    match client.acquire(&lock.name, request, options, news).await {
        Ok(hold) => Ok(pending.guard(hold, lock.resources)),
        Err(error) => Err(pending.failed(error)),
    }
}

/// Takes several locks, or none.
pub(super) async fn several(
    client: &Client,
    locks: Locks,
    news: impl Fn(Progress) + Send + Sync,
) -> Result<Vec<Guard>, AcquireError> {
    let mut pending = Pending::begin(client, &locks.0)?;
    let beside: Vec<Owner> = locks.0.iter().filter_map(Lock::owner).cloned().collect();
    let wish = |lock: &Lock| Wish {
        name: lock.name.clone(),
        request: lock.request(client, pending.token),
        options: lock.options(beside.clone()),
    };
    let wishes = locks.0.iter().map(wish).collect();
    let got = client.acquire_all(wishes, news).await;
    let resources = |hold: &Hold| {
        locks.0.iter().find(|lock| lock.name == *hold.name()).map(|lock| lock.resources.clone())
    };
    let guards = got.holds.into_iter().map(|hold| {
        let resources = resources(&hold).unwrap_or_default();
        pending.guard(hold, resources)
    });
    let guards: Vec<Guard> = guards.collect();
    // Those that were got are dropped then, and so given back.
    got.failure.map_or(Ok(guards), |error| Err(pending.failed(error)))
}

/// A request under way: dropped before it is settled, it leaves the queues.
struct Pending {
    client: Client,
    token: Token,
    /// What of the request is not settled.
    names: Vec<LockName>,
    staying: Option<Arc<Staying>>,
    late: Duration,
}

impl Pending {
    fn begin(client: &Client, locks: &[Lock]) -> Result<Self, AcquireError> {
        let token = Token::new(Uuid::new_v4());
        let names: Vec<LockName> = locks.iter().map(|lock| lock.name.clone()).collect();
        let staying = client.here().map(|here| Staying::begin(here, token)).transpose();
        let staying = staying.map_err(|error| AcquireError::Store {
            name: names[0].clone(),
            error: StoreError::Refused(error.to_string()),
        })?;
        let late = locks.iter().map(Lock::late).max().unwrap_or_default();
        Ok(Self { client: client.clone(), token, names, staying, late })
    }

    fn guard(&mut self, hold: Hold, resources: Vec<String>) -> Guard {
        self.names.retain(|name| name != hold.name());
        Guard::new(self.client.clone(), hold, self.staying.clone(), resources)
    }

    /// Takes in that the request has failed: only an error of the store, a write that nobody answered, or a lock that
    /// was tried and not put back leaves something to be looked for.
    fn failed(&mut self, error: AcquireError) -> AcquireError {
        let is_open = error.leaves_it_open();
        let (client, token) = (&self.client, self.token);
        self.names.retain(|name| is_open || client.may_have_left(name, token));
        error
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let staying = self.staying.take();
        for name in std::mem::take(&mut self.names) {
            let (client, token, late, staying) =
                (self.client.clone(), self.token, self.late, staying.clone());
            let rest = Rest { client, name, token, late, staying };
            drop(Leaving { rest: Some(rest), in_background: false });
        }
    }
}

/// What a request has of one lock that was given up, on its way back. Dropped before it is there, it goes on in the
/// background, or for a moment without a runtime: as a guard's hold does.
struct Leaving {
    rest: Option<Rest>,
    in_background: bool,
}

struct Rest {
    client: Client,
    name: LockName,
    token: Token,
    late: Duration,
    staying: Option<Arc<Staying>>,
}

impl Leaving {
    async fn go(mut self) {
        let Some(rest) = &self.rest else { return };
        if rest.client.withdraw(&rest.name, rest.token).await.is_err() {
            rest.leave_the_file();
        }
        let Some(Rest { client, name, token, late, staying }) = self.rest.take() else { return };
        drop(staying);
        client.take_back_late(&name, token, late).await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        match Handle::try_current() {
            // In a runtime that is about to end the task is dropped, and comes here once more.
            Ok(runtime) if !self.in_background => {
                drop(runtime.spawn(Self { rest: Some(rest), in_background: true }.go()));
            }
            _ => rest.leave_blocking(),
        }
    }
}

impl Rest {
    fn leave_blocking(&self) {
        let Self { client, name, token, .. } = self;
        let give_back = |time| {
            let until = Some(client.clock().now().plus(time));
            client.give_back(name, *token, None, Parting::Alone, until)
        };
        let left = last_resort::block_on(give_back, || std::future::ready(()));
        // What comes late now is nobody's.
        if left.is_none() || client.is_unsettled(name, *token) {
            self.leave_the_file();
        }
    }

    /// Something may stand: the file is not to go in good order.
    fn leave_the_file(&self) {
        self.staying.iter().for_each(|staying| staying.leave_the_file());
    }
}
