//! From settings to a client.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{
    Client,
    config::{
        Builder, SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};

use super::{
    DynamoDbSettings,
    clock::{ReadDate, ServerClock},
    credentials,
    genuine::OnlyDynamoDb,
    http::Http,
    place::{Place, without_user},
};
use crate::store::StoreError;

/// How long a connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a request may take, from before it is signed until its reply is read. A lease of 60 s with
/// renewals every 15 s survives ten that fail.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A client and what goes with it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) clock: Arc<ServerClock>,
}

/// Reads the configuration and the credentials; sends nothing to DynamoDB.
pub(super) async fn connect(settings: &DynamoDbSettings) -> Result<Connection, StoreError> {
    if settings.table.is_empty() {
        return Err(StoreError::Refused("the name of the DynamoDB table is empty: set `table`".into()));
    }
    let endpoint = settings.endpoint_url.as_deref();
    if let Some(url) = endpoint.filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        let shown = without_user(url);
        let message = format!("`endpoint_url` {shown} must begin with http:// or https://");
        return Err(StoreError::Refused(message));
    }
    if let Some(region) = settings.region.as_deref().filter(|region| !is_a_regions_name(region)) {
        let message = format!("`region` {region:?} is no region's name, such as eu-central-1");
        return Err(StoreError::Refused(message));
    }
    let http = SharedHttpClient::new(Http::default());
    // The version of the SDK's defaults: what they mean does not change under our feet with an update.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let sdk = loader.load().await;
    let Some(region) = sdk.region() else { return Err(no_region(settings)) };
    let place = Place::new(&settings.table, region.as_ref(), sdk.endpoint_url(), settings.profile.as_deref());
    let provider = credentials::provider(settings, &sdk, &http, &place).await?;
    let clock = Arc::new(ServerClock::default());
    let config = Builder::from(&sdk)
        .credentials_provider(provider)
        // Whoever asks retries: it knows what became of the last try, and how much time is left.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts())
        // Every request has its deadline.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(ReadDate(Arc::clone(&clock)))
        .interceptor(OnlyDynamoDb)
        .build();
    Ok(Connection { client: Client::from_conf(config), place, clock })
}

/// Whether it can be one: it becomes a part of the host's name.
fn is_a_regions_name(region: &str) -> bool {
    !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(REQUEST_TIMEOUT)
        .build()
}

fn no_region(settings: &DynamoDbSettings) -> StoreError {
    StoreError::Refused(format!(
        "table {}: no AWS region is set. Set `region` in the configuration, or AWS_REGION in the runner's \
         environment",
        settings.table
    ))
}
