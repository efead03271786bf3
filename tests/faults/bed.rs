//! A lock of its own for each scenario, in one table for all, and a host that reaches it through a proxy.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{
    Client,
    lock::LockState,
    store::{DynamoDbSettings, DynamoDbStore},
};
use tokio::runtime::{Builder, Runtime};

use crate::harness::{Host, LOCK, Proxy, Store, endpoint};

/// The lowest lease that these times allow: 2 x heartbeat + kill_grace + 5 s.
const TIMES: &str = "lease: 6s\nheartbeat: 400ms\nkill_grace: 200ms\nwait: 60s\n";

/// Longer than any request and its retry take, and a write that comes late is looked for.
const PATIENCE: Duration = Duration::from_secs(15);

const LOOK: Duration = Duration::from_millis(60);

pub struct Bed {
    pub proxy: Proxy,
    pub host: Host,
    pub lock: String,
    table: String,
    runtime: Runtime,
    direct: Client,
}

impl Bed {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (store, table) = (store(), table());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lock = format!("{LOCK}/{count}");
        let proxy = Proxy::to(&endpoint());
        let rule = format!("locks:\n  - name: \"{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}/{count}\"\n");
        let host = Host::through(store, &proxy.url, &format!("{TIMES}{rule}"));
        let runtime = runtime();
        let direct = runtime.block_on(client(table, &endpoint()));
        Self { proxy, host, lock, table: table.into(), runtime, direct }
    }

    /// The settings of a client that goes through the proxy.
    pub fn through(&self) -> DynamoDbSettings {
        settings(&self.table, &self.proxy.url)
    }

    /// The settings of one that does not.
    pub fn around(&self) -> DynamoDbSettings {
        settings(&self.table, &endpoint())
    }

    /// The lock as it stands.
    pub fn look(&self) -> Option<LockState> {
        self.look_at(&self.lock)
    }

    pub fn look_at(&self, lock: &str) -> Option<LockState> {
        let name = lock.parse().expect("it is a lock's name");
        self.runtime.block_on(self.direct.look(&name)).expect("the table answers")
    }

    /// Waits until so many wait for it.
    #[track_caller]
    pub fn until_waiters(&self, count: usize) {
        self.until(&format!("{count} in the queue"), || self.waiters() == count);
    }

    /// Waits until nobody holds it.
    #[track_caller]
    pub fn until_free(&self) {
        self.until("the lock is free", || self.holders() == 0);
    }

    /// Each look is a request, and there are dozens of beds.
    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let since = Instant::now();
        while !condition() {
            assert!(since.elapsed() < PATIENCE, "did not come within {PATIENCE:?}: {what}");
            thread::sleep(LOOK);
        }
    }

    pub fn waiters(&self) -> usize {
        self.look().map_or(0, |state| state.queue.len())
    }

    pub fn holders(&self) -> usize {
        self.look().map_or(0, |state| state.holders.len())
    }

    /// Deletes the lock's item, as somebody with the table's own tools does it.
    pub fn delete(&self) {
        let delete = raw().delete_item().table_name(&self.table);
        let delete = delete.key("LockID", AttributeValue::S(self.lock.clone()));
        self.runtime.block_on(delete.send()).expect("the table answers");
    }

    /// The program as somebody on the host would call it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.site.program("config.yaml");
        command.args(args).current_dir(self.host.path());
        command
    }

    /// The file that whoever works under the lock has locked by the kernel: nobody else may have it then.
    pub fn alone(&self) -> PathBuf {
        self.host.path().join("alone")
    }
}

/// The one table of these tests.
fn store() -> &'static Store {
    static TABLE: OnceLock<Store> = OnceLock::new();
    TABLE.get_or_init(Store::table)
}

/// Its name.
pub fn table() -> &'static str {
    let Store::Table(table) = store() else { unreachable!("it was asked for as a table") };
    table
}

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Locks the file of [`Bed::alone`], or tells that somebody else works.
pub fn work_alone(file: &Path) -> Option<File> {
    let file = File::options().append(true).create(true).open(file).expect("the folder is writable");
    file.try_lock().ok().map(|()| file)
}

pub fn settings(table: &str, url: &str) -> DynamoDbSettings {
    DynamoDbSettings {
        table: table.into(),
        region: Some("eu-central-1".into()),
        endpoint_url: Some(url.into()),
        profile: None,
    }
}

pub async fn client(table: &str, url: &str) -> Client {
    let store = DynamoDbStore::connect(&settings(table, url)).await.expect("the settings are good");
    Client::new(Arc::new(store), None)
}

/// DynamoDB's own client.
pub fn raw() -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_dynamodb::config::Region::new("eu-central-1"))
        .endpoint_url(endpoint())
        .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}
