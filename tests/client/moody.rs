//! A store in memory that can be told to misbehave.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use pipeline_lock::{
    Client,
    lock::{Beat, Ending, EpochMs, LockName, LockState, Map, Token},
    store::{Consistency, Expected, Liveness, MemoryStore, Renewal, Store, StoreError, Swap},
};
use tokio::sync::Notify;

/// How the store does.
#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Writes are swallowed and not answered; they can be delivered late.
    HangingWrites,
    /// Writes are lost on their way, as far as anybody knows; they can be delivered late.
    LosingWrites,
    /// No hold may be given back.
    Clinging,
    /// Everything is refused.
    Refusing,
    /// It can't be reached.
    Away,
    /// No ending can be recorded.
    Forgetful,
    /// What all locks are may not be asked.
    Blinkered,
    /// All locks are too many to be told.
    Overwhelmed,
}

/// The store.
pub struct Moody {
    inner: MemoryStore,
    mood: Mutex<Mood>,
    late: Mutex<Vec<(LockName, Option<LockState>, LockState)>>,
    written: Notify,
    requests: AtomicUsize,
    lists: AtomicUsize,
    throttled: AtomicUsize,
}

impl Moody {
    /// A store that does well, and a client of it.
    pub fn client() -> (Arc<Self>, Client) {
        let store = Arc::new(Self {
            inner: MemoryStore::new(),
            mood: Mutex::new(Mood::Well),
            late: Mutex::default(),
            written: Notify::new(),
            requests: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            throttled: AtomicUsize::new(0),
        });
        (store.clone(), Client::new(store, None))
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How often all locks were asked for.
    pub fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }

    /// So many of the next reads are throttled.
    pub fn throttle(&self, reads: usize) {
        self.throttled.store(reads, Ordering::SeqCst);
    }

    /// Puts a document there, as another program may have written it.
    pub fn put_document(&self, name: LockName, document: Map) {
        self.inner.put_document(name, document);
    }

    /// Waits until a write was swallowed.
    pub async fn has_written(&self) {
        self.written.notified().await;
    }

    /// What was swallowed takes effect now.
    pub async fn deliver_late(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (name, expected, new) in late {
            let expected = expected.as_ref().map_or(Expected::Free { seed: EpochMs(1) }, Expected::This);
            assert!(matches!(self.inner.swap(&name, expected, &new).await, Ok(Swap::Swapped(_))));
        }
    }

    fn ask(&self) -> Result<Mood, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Refusing {
            return Err(StoreError::Refused("no permission today".into()));
        }
        if mood == Mood::Away {
            return Err(StoreError::Unavailable("no connection".into()));
        }
        Ok(mood)
    }
}

#[async_trait]
impl Store for Moody {
    async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<LockState>, StoreError> {
        self.ask()?;
        if self.throttled.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(StoreError::Throttled("come again later".into()));
        }
        self.inner.read(name, consistency).await
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let mood = self.ask()?;
        if let (Mood::Clinging, Expected::This(before)) = (mood, expected)
            && before.holders.iter().any(|h| new.holder(h.token).is_none())
        {
            return Err(StoreError::Refused("what you have you keep".into()));
        }
        if matches!(mood, Mood::HangingWrites | Mood::LosingWrites) {
            let before = match expected {
                Expected::This(state) => Some(state.clone()),
                Expected::Free { .. } => None,
            };
            self.late.lock().unwrap().push((name.clone(), before, new.clone()));
            self.written.notify_one();
            if mood == Mood::LosingWrites {
                return Err(StoreError::Unanswered("no reply".into()));
            }
            std::future::pending::<()>().await;
        }
        self.inner.swap(name, expected, new).await
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        self.ask()?;
        self.inner.renew(name, token, beat).await
    }

    async fn list(&self, consistency: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        assert_eq!(consistency, Consistency::Strong, "nothing is decided by what may be old");
        // It takes its time: others go on meanwhile.
        tokio::task::yield_now().await;
        match self.ask()? {
            Mood::Blinkered => Err(StoreError::Refused("one lock at a time".into())),
            Mood::Overwhelmed => Err(StoreError::Throttled("too many".into())),
            _ => self.inner.list(consistency).await,
        }
    }

    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError> {
        if self.ask()? == Mood::Forgetful {
            return Err(StoreError::Unavailable("out of ink".into()));
        }
        self.inner.record(name, ending).await
    }

    async fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        self.inner.endings(name).await
    }

    fn now(&self) -> EpochMs {
        self.inner.now()
    }

    fn liveness(&self) -> Liveness {
        self.inner.liveness()
    }

    fn request_deadline(&self) -> Duration {
        self.inner.request_deadline()
    }

    fn describe(&self) -> String {
        "a moody store".into()
    }
}
