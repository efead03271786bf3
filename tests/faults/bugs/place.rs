//! A lock of its own, with a client that goes through a proxy, one that does not, and DynamoDB's own.

use std::{
    collections::HashMap,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{Client, Guard, Lock, client::Clock, lock::LockState, store::DynamoDbStore};

use crate::{
    bed::{client, raw, settings, table},
    harness::{Kind, Proxy, endpoint},
};

/// The shortest lease of the library.
pub const LEASE: Duration = Duration::from_secs(4);

/// A request, and a second that belongs to the machine.
pub const SOON: Duration = Duration::from_secs(10);

pub type Item = HashMap<String, AttributeValue>;

pub struct Place {
    pub proxy: Proxy,
    pub name: String,
    pub through: Client,
    pub direct: Client,
    raw: aws_sdk_dynamodb::Client,
}

impl Place {
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bugs/{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let proxy = Proxy::to(&endpoint());
        let through = client(table(), &proxy.url).await;
        Self { through, direct: client(table(), &endpoint()).await, raw: raw(), proxy, name }
    }

    /// A client on another clock.
    pub async fn on(clock: impl Clock + 'static) -> Client {
        let store = DynamoDbStore::connect(&settings(table(), &endpoint())).await.unwrap();
        Client::with_clock(Arc::new(store), Arc::new(clock), None)
    }

    pub fn lock(&self) -> Lock {
        Lock::new(self.name.clone()).unwrap().lease(LEASE).unwrap().wait(Duration::from_secs(30))
    }

    /// Held through the proxy.
    pub async fn held(&self) -> Guard {
        self.lock().acquire(&self.through).await.unwrap()
    }

    /// The lock is somebody's.
    pub async fn is_taken(&self) -> bool {
        self.lock().try_acquire(&self.direct).await.unwrap().is_none()
    }

    pub async fn look(&self) -> Option<LockState> {
        self.direct.look(&self.name.parse().unwrap()).await.unwrap()
    }

    pub async fn holders(&self) -> usize {
        self.look().await.map_or(0, |state| state.holders.len())
    }

    pub async fn waiters(&self) -> usize {
        self.look().await.map_or(0, |state| state.queue.len())
    }

    /// The item as it is in the table.
    pub async fn item(&self) -> Option<Item> {
        let get = self.raw.get_item().table_name(table()).consistent_read(true);
        get.key("LockID", text(&self.name)).send().await.unwrap().item
    }

    pub async fn delete(&self) {
        self.raw.delete_item().table_name(table()).key("LockID", text(&self.name)).send().await.unwrap();
    }

    pub async fn put(&self, mut item: Item) {
        item.insert("LockID".into(), text(&self.name));
        self.raw.put_item().table_name(table()).set_item(Some(item)).send().await.unwrap();
    }

    /// Sets one attribute, wherever in the item it is.
    pub async fn set(&self, path: &str, value: AttributeValue) {
        let update = self.raw.update_item().table_name(table()).key("LockID", text(&self.name));
        let update = update.update_expression(format!("SET {path} = :value"));
        update.expression_attribute_values(":value", value).send().await.unwrap();
    }

    /// Renewals that were answered as they should.
    pub fn good_renewals(&self) -> usize {
        self.proxy.seen().iter().filter(|seen| seen.kind == Kind::Renewal && !seen.is_hit).count()
    }

    /// Waits until so many more of them have come.
    pub async fn until_renewed(&self, times: usize) {
        let before = self.good_renewals();
        until("it is renewed", || self.good_renewals() >= before + times).await;
    }

    pub async fn until_hit(&self, times: usize) {
        until("the fault meets a request", || self.proxy.hits() >= times).await;
    }
}

pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

/// Waits for `condition` while the runtime goes on.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "did not come: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same for a condition that asks the table.
pub async fn until_so(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(20), "did not come: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
