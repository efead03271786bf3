//! One new store for each test, and a way to its documents past the store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{Client, primitives::Blob, types::AttributeValue};
use pipeline_lock::{
    lock::{LockName, Map, Value},
    store::{DynamoDbSettings, DynamoDbStore, LocalStore, MemoryStore, Store, create_table},
};

/// A store, and what it keeps.
pub struct Bench {
    /// The store.
    pub store: Arc<dyn Store>,
    kept: Box<dyn Kept>,
}

impl Bench {
    /// The same documents as another process sees them.
    pub async fn another(&self) -> Arc<dyn Store> {
        self.kept.open().await
    }

    /// The document as it is stored, without its key.
    pub async fn document(&self, name: &LockName) -> Option<Map> {
        self.kept.document(name).await
    }

    /// Puts a document there past the store.
    pub async fn put(&self, name: &LockName, document: Map) {
        self.kept.put(name, document).await;
    }
}

#[async_trait]
trait Kept {
    async fn open(&self) -> Arc<dyn Store>;
    async fn document(&self, name: &LockName) -> Option<Map>;
    async fn put(&self, name: &LockName, document: Map);
}

fn run<K: Kept + 'static>(kept: impl AsyncFnOnce() -> K, case: impl AsyncFnOnce(&Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kept = kept().await;
        case(&Bench { store: kept.open().await, kept: Box::new(kept) }).await;
    });
}

/// Runs a case in memory.
pub fn memory(case: impl AsyncFnOnce(&Bench)) {
    run(async || Arc::new(MemoryStore::new()), case);
}

#[async_trait]
impl Kept for Arc<MemoryStore> {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::clone(self) as Arc<dyn Store>
    }

    async fn document(&self, name: &LockName) -> Option<Map> {
        MemoryStore::document(self, name)
    }

    async fn put(&self, name: &LockName, document: Map) {
        self.put_document(name.clone(), document);
    }
}

/// Runs a case on a file of this host.
pub fn local(case: impl AsyncFnOnce(&Bench)) {
    let folder = tempfile::tempdir().unwrap();
    run(async || File(folder.path().join("locks.db")), case);
}

struct File(PathBuf);

impl File {
    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.0).unwrap()
    }
}

#[async_trait]
impl Kept for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(LocalStore::open(&self.0).unwrap())
    }

    async fn document(&self, name: &LockName) -> Option<Map> {
        let database = self.database();
        let mut query = database.prepare("SELECT document FROM locks WHERE name = ?1").unwrap();
        let mut rows = query.query([name.as_str()]).unwrap();
        let json: String = rows.next().unwrap()?.get(0).unwrap();
        Some(serde_json::from_str(&json).unwrap())
    }

    async fn put(&self, name: &LockName, document: Map) {
        let json = serde_json::to_string(&document).unwrap();
        let insert = "INSERT OR REPLACE INTO locks (name, rev, document) VALUES (?1, 0, ?2)";
        self.database().execute(insert, [name.as_str(), &json]).unwrap();
    }
}

/// Runs a case on a table of DynamoDB Local.
pub fn dynamodb(case: impl AsyncFnOnce(&Bench)) {
    run(Table::new, case);
}

struct Table {
    settings: DynamoDbSettings,
    raw: Client,
}

impl Table {
    async fn new() -> Self {
        let endpoint = std::env::var("PIPELINE_LOCK_TEST_DYNAMODB")
            .expect("PIPELINE_LOCK_TEST_DYNAMODB is not set: run these tests by tests/run");
        let settings = DynamoDbSettings {
            table: format!("stores-{}", uuid::Uuid::new_v4()),
            region: Some("eu-central-1".into()),
            endpoint_url: Some(endpoint.clone()),
            profile: None,
        };
        create_table(&settings, Duration::from_secs(20)).await.unwrap();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_dynamodb::config::Region::new("eu-central-1"))
            .endpoint_url(endpoint)
            .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self { settings, raw: Client::from_conf(config) }
    }
}

#[async_trait]
impl Kept for Table {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(DynamoDbStore::connect(&self.settings).await.unwrap())
    }

    async fn document(&self, name: &LockName) -> Option<Map> {
        let get = self.raw.get_item().table_name(&self.settings.table).consistent_read(true);
        let item = get.key("LockID", AttributeValue::S(name.to_string())).send().await.unwrap().item?;
        // The key, and what this store alone keeps.
        let rest = item.into_iter().filter(|(key, _)| key != "LockID" && key != "Home");
        Some(rest.map(|(key, attribute)| (key, value(attribute))).collect())
    }

    async fn put(&self, name: &LockName, document: Map) {
        let item = document.into_iter().map(|(key, value)| (key, attribute(value))).collect();
        let put = self.raw.put_item().table_name(&self.settings.table).set_item(Some(item));
        put.item("LockID", AttributeValue::S(name.to_string())).send().await.unwrap();
    }
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(digits) => AttributeValue::N(digits),
        Value::Bool(truth) => AttributeValue::Bool(truth),
        Value::Null(null) => AttributeValue::Null(null),
        Value::L(list) => AttributeValue::L(list.into_iter().map(attribute).collect()),
        Value::M(map) => AttributeValue::M(map.into_iter().map(|(k, v)| (k, attribute(v))).collect()),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        Value::Ss(set) => AttributeValue::Ss(set),
        Value::Ns(set) => AttributeValue::Ns(set),
        Value::Bs(set) => AttributeValue::Bs(set.into_iter().map(Blob::new).collect()),
    }
}

fn value(attribute: AttributeValue) -> Value {
    match attribute {
        AttributeValue::S(text) => Value::S(text),
        AttributeValue::N(digits) => Value::N(digits),
        AttributeValue::Bool(truth) => Value::Bool(truth),
        AttributeValue::Null(null) => Value::Null(null),
        AttributeValue::L(list) => Value::L(list.into_iter().map(value).collect()),
        AttributeValue::M(map) => Value::M(map.into_iter().map(|(k, v)| (k, value(v))).collect()),
        AttributeValue::B(bytes) => Value::B(bytes.into_inner()),
        AttributeValue::Ss(set) => Value::Ss(set),
        AttributeValue::Ns(set) => Value::Ns(set),
        AttributeValue::Bs(set) => Value::Bs(set.into_iter().map(Blob::into_inner).collect()),
        other => panic!("DynamoDB has a new type: {other:?}"),
    }
}
