//! The stores that are put under load.

use std::{sync::Arc, time::Duration};

use pipeline_lock::{
    client::{Client, Here},
    store::{DynamoDbSettings, DynamoDbStore, LocalStore, Store, create_table},
};

use crate::meter::Metered;

/// A store in a file, metered, and a client of it as the library makes one.
pub struct File {
    pub client: Client,
    pub meter: Arc<Metered>,
    _folder: tempfile::TempDir,
}

impl File {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = LocalStore::open(&folder.path().join("locks.db")).expect("the folder is on a disk");
        let here = Here::open(store.local_dir().expect("it has one")).expect("the folder is ours");
        let meter = Metered::over(Arc::new(store), Duration::ZERO);
        Self { client: Client::new(meter.clone(), Some(here)), meter, _folder: folder }
    }
}

/// A new table of DynamoDB Local.
pub async fn table() -> Arc<dyn Store> {
    let endpoint = std::env::var("PIPELINE_LOCK_TEST_DYNAMODB")
        .expect("PIPELINE_LOCK_TEST_DYNAMODB is not set: run these tests by tests/run");
    let settings = DynamoDbSettings {
        table: format!("load-{}", uuid::Uuid::new_v4()),
        region: Some("eu-central-1".into()),
        endpoint_url: Some(endpoint),
        profile: None,
    };
    create_table(&settings, Duration::from_secs(20)).await.expect("DynamoDB Local runs");
    Arc::new(DynamoDbStore::connect(&settings).await.expect("the settings are good"))
}
