//! Several locks at once, for the library.

use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;

use super::{
    AcquireError, Acquiring, Client, Given, Guard, Lock, LockError, Loss, Progress, ReleaseError, taking,
};
use crate::lock::LockName;

/// Several locks to be acquired together: all at once where they are free, else in the order of their names, so that
/// no two who ask for several wait for each other for ever.
///
/// ```
/// # use pipeline_lock::{Client, Lock, Locks};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let client = Client::local(folder.path().join("locks.db")).await?;
/// let locks = Locks::new([Lock::new("shop/production")?, Lock::new("shop/database")?.shared()])?;
/// let guards = locks.acquire(&client).await?;
/// assert_eq!(guards.iter().map(|guard| guard.name().as_str()).collect::<Vec<_>>(), ["shop/database", "shop/production"]);
/// println!("deploying with fencing number {}", guards.get("shop/production").expect("it is held").fence());
/// guards.release().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is locked until they are acquired"]
pub struct Locks(pub(super) Vec<Lock>);

impl Locks {
    /// These locks, each with its own wishes. The times to wait begin together.
    ///
    /// # Errors
    /// [`LockError::None`], [`LockError::Twice`].
    pub fn new(locks: impl IntoIterator<Item = Lock>) -> Result<Self, LockError> {
        let mut locks: Vec<Lock> = locks.into_iter().collect();
        locks.sort_by(|a, b| a.name.cmp(&b.name));
        match locks.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(LockError::Twice(pair[0].name.clone())),
            None if locks.is_empty() => Err(LockError::None),
            None => Ok(Self(locks)),
        }
    }

    /// Acquires all of them, waiting as long as was said. Where one is not got, none is held: those that were got are
    /// given back in the background.
    ///
    /// # Errors
    /// [`AcquireError`]: the first one that was not got, and why.
    pub async fn acquire(self, client: &Client) -> Result<Guards, AcquireError> {
        self.acquire_with(client, |_| {}).await
    }

    /// The same; `news` hears where the requests stand. It is called within the wait: it must not block.
    ///
    /// # Errors
    /// As [`Locks::acquire`].
    pub async fn acquire_with(
        self,
        client: &Client,
        news: impl Fn(Progress) + Send + Sync,
    ) -> Result<Guards, AcquireError> {
        taking::several(client, self, news).await.map(Guards)
    }

    /// Takes all of them if they are free for this request, and never waits: `None` if one of them is not.
    ///
    /// # Errors
    /// [`AcquireError`]: neither is known, or the request is obsolete.
    pub async fn try_acquire(self, client: &Client) -> Result<Option<Guards>, AcquireError> {
        let locks = Self(self.0.into_iter().map(|lock| lock.wait(Duration::ZERO)).collect());
        match locks.acquire(client).await {
            Ok(guards) => Ok(Some(guards)),
            Err(AcquireError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires all of them, with the news as a stream: see [`Acquiring`]. Nothing is asked before that is awaited.
    pub fn begin(self, client: &Client) -> Acquiring<Guards> {
        let client = client.clone();
        Acquiring::new(|news| async move { self.acquire_with(&client, news).await })
    }
}

/// Several locks that are held together. Dropped, each of them is given back as by a [`Guard`]'s drop.
#[derive(Debug)]
#[must_use = "dropped at once, the locks are given back"]
pub struct Guards(Vec<Guard>);

/// Some of several locks are not known to be released; the others are.
#[derive(Clone, Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ReleaseErrors(
    /// One for each of them.
    pub Vec<ReleaseError>,
);

impl Guards {
    /// The held locks, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Guard> {
        self.0.iter()
    }

    /// The one called `name`.
    pub fn get(&self, name: &str) -> Option<&Guard> {
        self.0.iter().find(|guard| guard.name().as_str() == name)
    }

    /// The guards, each for itself from here on.
    pub fn into_guards(self) -> Vec<Guard> {
        self.0
    }

    /// Returns when the work must end because of one of the locks: which one, and why; `margin` before its lease ends
    /// at the latest.
    pub async fn lost(&self, margin: Duration) -> (LockName, Loss) {
        let mut losses = JoinSet::new();
        for guard in &self.0 {
            let (name, watcher) = (guard.name().clone(), guard.watcher());
            losses.spawn(async move { (name, watcher.lost(margin).await) });
        }
        loop {
            match losses.join_next().await {
                Some(Ok(lost)) => return lost,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Gives all of them back at once, each for itself. The result says of each what became of it, by name.
    ///
    /// # Errors
    /// [`ReleaseErrors`]: those that are not known to be released.
    pub async fn release(self) -> Result<Vec<Given>, ReleaseErrors> {
        let mut under_way = JoinSet::new();
        for (index, guard) in self.0.into_iter().enumerate() {
            under_way.spawn(async move { (index, guard.release().await) });
        }
        let mut results = under_way.join_all().await;
        results.sort_by_key(|(index, _)| *index);
        let (mut given, mut failed) = (Vec::new(), Vec::new());
        for (_, result) in results {
            match result {
                Ok(one) => given.push(one),
                Err(error) => failed.push(error),
            }
        }
        if failed.is_empty() { Ok(given) } else { Err(ReleaseErrors(failed)) }
    }
}

impl IntoIterator for Guards {
    type Item = Guard;
    type IntoIter = std::vec::IntoIter<Guard>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
