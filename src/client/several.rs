//! Several locks for one job: all at once where they are free, else in the order of their names.
//!
//! Whoever waits for a lock holds none whose name sorts after it. So of any that wait for each other one waits for
//! a lock whose holder waits for nothing, and no deadlock can be.

use std::time::Duration;

use tokio::{sync::mpsc::unbounded_channel, task::JoinSet};
use tracing::{info, warn};

use super::{AcquireError, AcquireOptions, Client, Hold, Progress, Wish};

/// What became of several wishes.
#[derive(Debug)]
pub struct Several {
    /// The locks that are held, by name.
    pub holds: Vec<Hold>,
    /// Why the next one was not got, if so.
    pub failure: Option<AcquireError>,
}

impl Client {
    /// Asks for all `wishes`, each lock once. The time to wait counts from here for each of them, so that all of it
    /// lasts no longer than the longest. `news` hears where the requests stand.
    ///
    /// Those that were got are held also when another one fails. As with [`Client::acquire`], whoever drops this before
    /// it is done, or gets an error of the store, calls [`Client::withdraw`] for each name afterwards.
    pub async fn acquire_all(&self, mut wishes: Vec<Wish>, news: impl Fn(Progress) + Send + Sync) -> Several {
        let started = self.clock.now();
        wishes.sort_by(|a, b| a.name.cmp(&b.name));
        // A retried try has a place in one of the queues, and gets on by keeping it.
        let at_once = wishes.len() > 1 && wishes.iter().all(|wish| wish.request.replaces.is_none());
        let mut holds = if at_once { self.try_all(&wishes, &news).await } else { Vec::new() };
        for wish in wishes.into_iter().skip(holds.len()) {
            let waited = self.clock.now().since(started);
            let options = AcquireOptions { wait: wish.options.wait.saturating_sub(waited), ..wish.options };
            match self.acquire(&wish.name, wish.request, options, &news).await {
                Ok(hold) => holds.push(hold),
                Err(failure) => return Several { holds, failure: Some(failure) },
            }
        }
        Several { holds, failure: None }
    }

    /// Tries all at once. The result are the holds up to the first lock that is not free; those after it are given
    /// back, as they must not be held while it is waited for.
    async fn try_all(&self, wishes: &[Wish], news: &(impl Fn(Progress) + Send + Sync)) -> Vec<Hold> {
        let (told, mut tells) = unbounded_channel();
        let mut tries = JoinSet::new();
        for (index, wish) in wishes.iter().cloned().enumerate() {
            let (client, told) = (self.clone(), told.clone());
            let options = AcquireOptions { wait: Duration::ZERO, ..wish.options };
            tries.spawn(async move {
                let news = |progress| drop(told.send(progress));
                (index, client.acquire(&wish.name, wish.request, options, news).await)
            });
        }
        drop(told);
        let mut got: Vec<Option<Hold>> = wishes.iter().map(|_| None).collect();
        loop {
            tokio::select! {
                biased;
                Some(progress) = tells.recv() => news(progress),
                Some(done) = tries.join_next() => match done {
                    Ok((index, Ok(hold))) => got[index] = Some(hold),
                    Ok((index, Err(error))) => info!(lock = %wishes[index].name, %error, "not got at once"),
                    Err(error) => warn!(%error, "a try ended early"),
                },
                else => break,
            }
        }
        let held = got.iter().take_while(|hold| hold.is_some()).count();
        let mut back = JoinSet::new();
        for hold in got.drain(held..).flatten() {
            back.spawn(hold.put_back());
        }
        while let Some(released) = back.join_next().await {
            if let Ok(Err(error)) = released {
                // It is taken again in its turn, as the same token.
                warn!(%error, "a lock that was tried was not given back");
            }
        }
        got.into_iter().flatten().collect()
    }
}
