//! Tables, documents and a client of DynamoDB's own.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use pipeline_lock::{
    lock::{Beat, EpochMs, Holder, Limit, LockName, LockState, Map, Mode, Owner, Request, Term, Token, Who},
    store::{DynamoDbSettings, DynamoDbStore, create_table},
};

use crate::harness::endpoint;

pub const REGION: &str = "eu-central-1";
/// Far ahead: DynamoDB Local deletes what has expired, also in the middle of a test.
pub const SEED: EpochMs = EpochMs(4_000_000_000_000);

/// Settings for a table that no other test uses.
pub fn settings() -> DynamoDbSettings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    DynamoDbSettings {
        table: format!("locks-{}-{now}-{count}", std::process::id()),
        region: Some(REGION.into()),
        endpoint_url: Some(endpoint()),
        profile: None,
    }
}

/// A new table, and the raw client for it.
pub struct Table {
    pub settings: DynamoDbSettings,
    pub raw: Client,
}

impl Table {
    pub async fn new() -> Self {
        let settings = settings();
        create_table(&settings, Duration::from_secs(20)).await.unwrap();
        Self { raw: raw_client(&settings), settings }
    }

    pub async fn store(&self) -> DynamoDbStore {
        DynamoDbStore::connect(&self.settings).await.unwrap()
    }

    pub async fn put(&self, name: &LockName, item: &[(&str, AttributeValue)]) {
        let mut put = self.raw.put_item().table_name(&self.settings.table);
        put = put.item("LockID", text(name.as_str()));
        for (key, value) in item {
            put = put.item(*key, value.clone());
        }
        put.send().await.unwrap();
    }

    pub async fn set(&self, name: &LockName, attribute: &str, value: AttributeValue) {
        let update = self.raw.update_item().table_name(&self.settings.table);
        update
            .key("LockID", text(name.as_str()))
            .update_expression("SET #a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value)
            .send()
            .await
            .unwrap();
    }

    pub async fn item(&self, name: &LockName) -> Option<HashMap<String, AttributeValue>> {
        let get = self.raw.get_item().table_name(&self.settings.table).consistent_read(true);
        get.key("LockID", text(name.as_str())).send().await.unwrap().item
    }
}

fn raw_client(settings: &DynamoDbSettings) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_dynamodb::config::Region::new(REGION))
        .endpoint_url(settings.endpoint_url.clone().unwrap())
        .credentials_provider(aws_credential_types::Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

pub fn name(text: &str) -> LockName {
    LockName::new(text).unwrap()
}

pub fn token(n: u128) -> Token {
    Token::new(uuid::Uuid::from_u128(n))
}

pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

/// A live hold.
pub fn holder(token: Token, beat: u64) -> Holder {
    Holder {
        owner: Owner::job("gitlab.example", 7),
        token,
        fence: None,
        mode: Mode::Exclusive,
        limit: Limit(1),
        slot: 0,
        line: None,
        term: Term::Live { beat: Beat(beat), lease: Some(Duration::from_secs(60)) },
        since: SEED,
        who: Who { project: "group/project".into(), job_id: 7, ..Who::default() },
        revoked: None,
        reserved: None,
        between: false,
        extra: Map::new(),
    }
}

/// A request of another job than [`holder`]'s.
pub fn request(token: Token) -> Request {
    Request {
        owner: Owner::job("gitlab.example", 8),
        token,
        replaces: None,
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        order: pipeline_lock::lock::Order::First,
        line: None,
        max_queue: None,
        term: Term::Live { beat: Beat(0), lease: Some(Duration::from_secs(60)) },
        who: Who::default(),
        since: SEED,
        force_after: None,
    }
}

/// A document with these holders.
pub fn held(holders: Vec<Holder>) -> LockState {
    LockState { holders, ..LockState::new(SEED) }
}

/// The beat of a hold.
pub fn beat_of(state: &LockState, token: Token) -> u64 {
    match state.holder(token).unwrap().term {
        Term::Live { beat, .. } => beat.0,
        Term::Static { .. } => panic!("the hold is static"),
    }
}
