//! The library's way to a lock: say which and how, wait, get a guard.

use std::{collections::BTreeSet, time::Duration};

use super::{AcquireError, AcquireOptions, Acquiring, Client, Guard, LockError, Parting, Progress, taking};
use crate::{
    lock::{
        Limit, Line, LockName, MAX_HOLDERS, Mode, NameError, Order, Owner, PRIORITIES, Request, Term, Token,
        Who,
    },
    store::Liveness,
};

/// The lease of a hold, unless told otherwise: how long a lock stays taken when its holder's host dies.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// The shortest lease: a renewal comes after a quarter of it, and takes its time.
pub const LEAST_LEASE: Duration = Duration::from_secs(4);

/// How long an acquire waits, unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(50 * 60);

/// A lock to be acquired: its name and how.
///
/// ```
/// # use pipeline_lock::{Client, Lock};
/// # use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// let client = Client::local(folder.path().join("locks.db")).await?;
/// let guard = Lock::new("shop/production")?.wait(Duration::from_secs(5)).acquire(&client).await?;
/// println!("held with fence {}", guard.fence());
/// guard.release().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is locked until it is acquired"]
pub struct Lock {
    pub(super) name: LockName,
    owner: Option<Owner>,
    parting: Parting,
    mode: Mode,
    limit: Option<u32>,
    pub(super) resources: Vec<String>,
    priority: i32,
    order: Order,
    line: Option<Line>,
    max_queue: Option<u32>,
    lease: Duration,
    wait: Duration,
    who: Who,
}

impl Lock {
    /// The lock `name`: exclusive, first come, first served, for 50 minutes at most.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        Ok(Self {
            name: LockName::new(name)?,
            owner: None,
            parting: Parting::Alone,
            mode: Mode::Exclusive,
            limit: None,
            resources: Vec::new(),
            priority: 0,
            order: Order::First,
            line: None,
            max_queue: None,
            lease: DEFAULT_LEASE,
            wait: DEFAULT_WAIT,
            who: Who { host: crate::host::clock::hostname(), ..Who::default() },
        })
    }

    /// Together with any number of other shared holds (or as many as [`Lock::limit`] says), and with no exclusive one.
    ///
    /// ```
    /// # use pipeline_lock::{Client, Lock};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::local(folder.path().join("locks.db")).await?;
    /// let one = Lock::new("shop/database")?.shared().acquire(&client).await?;
    /// let other = Lock::new("shop/database")?.shared().acquire(&client).await?;
    /// let alone = Lock::new("shop/database")?.try_acquire(&client).await?;
    /// assert!(alone.is_none());
    /// # drop((one, other)); Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub const fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// As many hold it at once, this one counted, from 1 to [`MAX_HOLDERS`]; each has a [`Guard::slot`]. The smallest
    /// limit among the holders and who asks decides.
    ///
    /// ```
    /// # use pipeline_lock::{Client, Lock};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::local(folder.path().join("locks.db")).await?;
    /// let one = Lock::new("shop/builders")?.limit(2)?.acquire(&client).await?;
    /// let other = Lock::new("shop/builders")?.limit(2)?.acquire(&client).await?;
    /// assert_eq!((one.slot(), other.slot()), (0, 1));
    /// assert!(Lock::new("shop/builders")?.limit(0).is_err());
    /// # drop((one, other)); Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`LockError::Limit`], [`LockError::LimitAndResources`].
    pub fn limit(mut self, limit: u32) -> Result<Self, LockError> {
        if limit == 0 || limit as usize > MAX_HOLDERS {
            return Err(LockError::Limit(limit));
        }
        self.limit = Some(limit);
        self.checked()
    }

    /// As many hold it at once as there are names here, and each has one of them: [`Guard::resource`].
    ///
    /// ```
    /// # use pipeline_lock::{Client, Lock};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::local(folder.path().join("locks.db")).await?;
    /// let board = Lock::new("lab/boards")?.resources(["board-a", "board-b"])?.acquire(&client).await?;
    /// assert_eq!(board.resource(), Some("board-a"));
    /// # drop(board); Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`LockError::Resources`], [`LockError::Resource`], [`LockError::LimitAndResources`].
    pub fn resources<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, LockError> {
        self.resources = names.into_iter().map(Into::into).collect();
        if self.resources.is_empty() || self.resources.len() > MAX_HOLDERS {
            return Err(LockError::Resources(self.resources.len()));
        }
        let mut seen = BTreeSet::new();
        let is_good = |name: &str| !name.is_empty() && name.trim() == name && !name.contains(is_lost);
        if let Some(name) = self.resources.iter().find(|name| !is_good(name) || !seen.insert(name.as_str())) {
            return Err(LockError::Resource(name.clone()));
        }
        self.checked()
    }

    /// Higher goes first among those who wait (default: 0). Nobody starves: a waiter's priority grows by one with each
    /// later one that goes first by a higher one.
    ///
    /// ```
    /// # use pipeline_lock::{Lock, client::LockError, lock::PRIORITIES};
    /// let urgent = Lock::new("shop/production")?.priority(10)?;
    /// let wrong = Lock::new("shop/production")?.priority(PRIORITIES.end() + 1);
    /// assert!(matches!(wrong, Err(LockError::Priority { asked: 101 })));
    /// # drop(urgent); Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LockError::Priority`]: it is none of [`PRIORITIES`].
    pub fn priority(mut self, priority: i32) -> Result<Self, LockError> {
        if !PRIORITIES.contains(&priority) {
            return Err(LockError::Priority { asked: priority });
        }
        self.priority = priority;
        Ok(self)
    }

    /// Goes before all who wait with the same priority, where usually the first to come is the first served.
    ///
    /// ```
    /// # use pipeline_lock::Lock;
    /// let preview = Lock::new("shop/preview")?.newest_first();
    /// # drop(preview); Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn newest_first(mut self) -> Self {
        self.order = Order::Newest;
        self
    }

    /// What it deploys: who waits with an older number of the same line ends with [`AcquireError::Obsolete`], and so does
    /// this one where a newer holds the lock or waits for it.
    ///
    /// ```
    /// # use pipeline_lock::{AcquireError, Client, Lock, lock::Line};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::local(folder.path().join("locks.db")).await?;
    /// let newer = Lock::new("shop/production")?.supersedes(Line::new("shop main", 43)).acquire(&client).await?;
    /// let older = Lock::new("shop/production")?.supersedes(Line::new("shop main", 42)).acquire(&client).await;
    /// assert!(matches!(older, Err(AcquireError::Obsolete { by: 43, .. })));
    /// # drop(newer); Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn supersedes(mut self, line: Line) -> Self {
        self.line = Some(line);
        self
    }

    /// Joins the hold of `pipeline`, as its other members do: they hold the lock together, and one more goes past the
    /// queue. When the last one releases, the hold stands for `linger` longer, for the next member; with no time to
    /// linger a release ends what stands, too. Other locks are taken beside the pipeline's: one whose name sorts before
    /// a lock that the pipeline holds is only tried (else [`AcquireError::OutOfOrder`]).
    ///
    /// ```
    /// # use pipeline_lock::{Client, Lock, client::Given, lock::Owner};
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::local(folder.path().join("locks.db")).await?;
    /// let pipeline = Owner::pipeline("gitlab.example", 278, 90_417);
    /// let lock = Lock::new("shop/production")?.pipeline(pipeline.clone(), Duration::from_secs(60))?;
    /// let (build, deploy) = (lock.clone().acquire(&client).await?, lock.acquire(&client).await?);
    /// assert_eq!(build.release().await?, Given::Back);
    /// assert_eq!(deploy.release().await?, Given::Kept, "it stands for the pipeline's next job");
    /// assert!(Lock::new("shop/production")?.try_acquire(&client).await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`LockError::NoPipeline`]: `pipeline` was not made by [`Owner::pipeline`].
    pub fn pipeline(mut self, pipeline: Owner, linger: Duration) -> Result<Self, LockError> {
        if !pipeline.has_members() {
            return Err(LockError::NoPipeline(pipeline));
        }
        self.parting = if linger.is_zero() { Parting::WithThePipeline } else { Parting::Linger(linger) };
        self.owner = Some(pipeline);
        Ok(self)
    }

    /// As many may wait for it, this one counted; who would be one more fails with [`AcquireError::QueueFull`].
    ///
    /// ```
    /// # use pipeline_lock::Lock;
    /// let lock = Lock::new("shop/production")?.max_queue(3)?;
    /// assert!(Lock::new("shop/production")?.max_queue(0).is_err());
    /// # drop(lock); Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LockError::NoQueue`].
    pub fn max_queue(mut self, most: u32) -> Result<Self, LockError> {
        if most == 0 {
            return Err(LockError::NoQueue);
        }
        self.max_queue = Some(most);
        Ok(self)
    }

    /// Waits at most this long (default: 50 minutes); zero takes it or fails at once.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The lease (default: 60 s): how long the lock stays taken when this host dies. It is renewed four times
    /// in that time. A store on one host needs none.
    ///
    /// # Errors
    /// [`LockError::ShortLease`]: it is shorter than [`LEAST_LEASE`].
    pub fn lease(mut self, lease: Duration) -> Result<Self, LockError> {
        if lease < LEAST_LEASE {
            return Err(LockError::ShortLease(lease));
        }
        self.lease = lease;
        Ok(self)
    }

    /// Who asks, for those who wait behind (default: this host's name).
    pub fn who(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// Acquires the lock, waiting as long as was said. Who drops the future before it is done leaves the queue: in the
    /// background, or as the runtime ends, as a [`Guard`]'s drop gives a lock back.
    ///
    /// # Errors
    /// [`AcquireError`]: why it is not held.
    pub async fn acquire(self, client: &Client) -> Result<Guard, AcquireError> {
        self.acquire_with(client, |_| {}).await
    }

    /// The same; `news` hears where the request stands. It is called within the wait: it must not block.
    ///
    /// # Errors
    /// [`AcquireError`]: why it is not held.
    pub async fn acquire_with(
        self,
        client: &Client,
        news: impl FnMut(Progress) + Send,
    ) -> Result<Guard, AcquireError> {
        taking::one(client, self, news).await
    }

    /// Takes the lock if it is free for this request, and never waits: `None` if it is not.
    ///
    /// # Errors
    /// [`AcquireError`]: neither is known, or the request is obsolete.
    pub async fn try_acquire(self, client: &Client) -> Result<Option<Guard>, AcquireError> {
        match self.wait(Duration::ZERO).acquire(client).await {
            Ok(guard) => Ok(Some(guard)),
            Err(AcquireError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lock, with the news as a stream: see [`Acquiring`]. Nothing is asked before that is awaited.
    pub fn begin(self, client: &Client) -> Acquiring<Guard> {
        let client = client.clone();
        Acquiring::new(|news| async move { self.acquire_with(&client, news).await })
    }

    /// The request, as `token` makes it.
    pub(super) fn request(&self, client: &Client, token: Token) -> Request {
        let owner = self.owner.clone().unwrap_or_else(|| Owner::alone(token));
        Request {
            mode: self.mode,
            limit: self.places(),
            priority: self.priority,
            order: self.order,
            line: self.line.clone(),
            max_queue: self.max_queue,
            who: self.who.clone(),
            ..Request::new(owner, token, live_term(client, self.lease))
        }
    }

    /// How it is asked for, beside what the pipelines `beside` hold.
    pub(super) fn options(&self, beside: Vec<Owner>) -> AcquireOptions {
        AcquireOptions { parting: self.parting, beside, ..AcquireOptions::waiting(self.wait) }
    }

    /// The pipeline whose hold it is to be.
    pub(super) const fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// How long a write that was not answered may bring a hold.
    pub(super) const fn late(&self) -> Duration {
        self.lease
    }

    fn places(&self) -> Limit {
        let named = u32::try_from(self.resources.len()).ok().filter(|count| *count > 0);
        named.or(self.limit).map_or_else(|| self.mode.default_limit(), Limit)
    }

    fn checked(self) -> Result<Self, LockError> {
        let resources = self.resources.len();
        match self.limit {
            Some(limit) if resources > 0 && limit as usize != resources => {
                Err(LockError::LimitAndResources { limit, resources })
            }
            _ => Ok(self),
        }
    }
}

/// What a list of names with commas between, or a line of a log, would not give back.
fn is_lost(c: char) -> bool {
    c == ',' || c.is_control()
}

/// The term of a hold that this process watches over.
pub(crate) fn live_term(client: &Client, lease: Duration) -> Term {
    let lease = match client.store().liveness() {
        Liveness::Lease => Some(lease),
        Liveness::KernelLock => None,
    };
    Term::Live { beat: crate::lock::Beat(0), lease }
}
