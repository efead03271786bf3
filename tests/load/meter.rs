//! A store that counts what is asked of the one behind it, as DynamoDB's bill does.

use std::{
    collections::BTreeMap,
    ops::Sub,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use pipeline_lock::{
    lock::{Beat, Ending, EpochMs, LockName, LockState, Map, Rev, Token, codec},
    store::{Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap},
};

/// What was asked, and what DynamoDB takes for it: a read unit is 4 KB read strongly, a write unit 1 KB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    pub reads: u64,
    pub swaps: u64,
    /// Of the swaps: those that found something else than they expected. They cost as much as the others.
    pub conflicts: u64,
    pub renewals: u64,
    pub records: u64,
    pub read_units: f64,
    pub write_units: f64,
    /// The largest item, in bytes.
    pub largest: usize,
}

impl Bill {
    pub fn requests(&self) -> u64 {
        self.reads + self.swaps + self.renewals + self.records
    }
}

impl Sub for Bill {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            swaps: self.swaps - before.swaps,
            conflicts: self.conflicts - before.conflicts,
            renewals: self.renewals - before.renewals,
            records: self.records - before.records,
            read_units: self.read_units - before.read_units,
            write_units: self.write_units - before.write_units,
            largest: self.largest,
        }
    }
}

/// The store.
pub struct Metered {
    inner: Arc<dyn Store>,
    bill: Mutex<Bill>,
    /// The size of each lock's item, as it was seen last, at this revision.
    sizes: Mutex<BTreeMap<LockName, (Rev, usize)>>,
    /// How long each request is on its way.
    latency: Duration,
}

impl Metered {
    pub fn over(inner: Arc<dyn Store>, latency: Duration) -> Arc<Self> {
        Arc::new(Self { inner, bill: Mutex::default(), sizes: Mutex::default(), latency })
    }

    pub fn bill(&self) -> Bill {
        *self.bill.lock().unwrap()
    }

    /// Notes a request on an item that has this form now.
    fn note(&self, name: &LockName, state: Option<&LockState>, add: impl FnOnce(&mut Bill, usize)) {
        let mut sizes = self.sizes.lock().unwrap();
        let known = sizes.get(name).copied();
        let after = match (state, known) {
            (None, _) => 1,
            (Some(state), Some((rev, bytes))) if rev == state.rev => bytes,
            (Some(state), _) => item_size(name, &codec::encode(state)),
        };
        sizes.insert(name.clone(), (state.map_or(Rev(0), |state| state.rev), after));
        let before = known.map_or(1, |(_, bytes)| bytes);
        drop(sizes);
        let mut bill = self.bill.lock().unwrap();
        bill.largest = bill.largest.max(after);
        // The larger one counts.
        add(&mut bill, before.max(after));
    }

    async fn travel(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }
}

/// The size of an item as DynamoDB counts it: names and values of its attributes.
pub fn item_size(name: &LockName, document: &Map) -> usize {
    let key = "LockID".len() + name.as_str().len();
    key + document.iter().map(|(attribute, value)| attribute.len() + value.size()).sum::<usize>()
}

fn units(bytes: usize, size_of_one: usize) -> f64 {
    let units = bytes.div_ceil(size_of_one).max(1);
    f64::from(u32::try_from(units).expect("an item is small"))
}

#[async_trait]
impl Store for Metered {
    async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<LockState>, StoreError> {
        self.travel().await;
        let read = self.inner.read(name, consistency).await?;
        let weight = if consistency == Consistency::Strong { 1.0 } else { 0.5 };
        self.note(name, read.as_ref(), |bill, bytes| {
            bill.reads += 1;
            bill.read_units += weight * units(bytes, 4096);
        });
        Ok(read)
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        self.travel().await;
        let swap = self.inner.swap(name, expected, new).await?;
        let (state, conflict) = match &swap {
            Swap::Swapped(state) => (Some(state), 0),
            Swap::Conflict(current) => (current.as_ref(), 1),
        };
        self.note(name, state, |bill, bytes| {
            bill.swaps += 1;
            bill.conflicts += conflict;
            bill.write_units += units(bytes, 1024);
        });
        Ok(swap)
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        self.travel().await;
        let renewal = self.inner.renew(name, token, beat).await?;
        let state = match &renewal {
            Renewal::Renewed(state) => Some(state),
            Renewal::Gone(current) => current.as_ref(),
        };
        self.note(name, state, |bill, bytes| {
            bill.renewals += 1;
            bill.write_units += units(bytes, 1024);
        });
        Ok(renewal)
    }

    async fn list(&self, consistency: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        self.inner.list(consistency).await
    }

    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError> {
        self.travel().await;
        {
            let mut bill = self.bill.lock().unwrap();
            bill.records += 1;
            bill.write_units += units(item_size(name, &codec::encode_ending(ending)), 1024);
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

    fn local_dir(&self) -> Option<&Path> {
        self.inner.local_dir()
    }

    fn request_deadline(&self) -> Duration {
        self.inner.request_deadline()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
