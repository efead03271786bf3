//! Where credentials come from, and what to say when there are none.

use std::{
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{SdkConfig, profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig};
use aws_credential_types::{
    credential_fn::provide_credentials_fn,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use aws_sdk_dynamodb::config::SharedHttpClient;

use super::{
    DynamoDbSettings,
    cause::{innermost, one_line},
    place::Place,
};
use crate::store::StoreError;

/// How long the first look for credentials may take: a program named in a profile, a role that is assumed.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// The provider for the client. The first credentials are fetched here and now: a request's own deadline is
/// too short for slow sources, and a host without credentials hears of it before anything else happens.
pub(super) async fn provider(
    settings: &DynamoDbSettings,
    sdk: &SdkConfig,
    http: &SharedHttpClient,
    place: &Place,
) -> Result<SharedCredentialsProvider, StoreError> {
    let source = match &settings.profile {
        Some(profile) => of_profile(profile, sdk, http),
        None => sdk.credentials_provider().ok_or_else(|| missing(place))?,
    };
    let first = match tokio::time::timeout(FIRST_LOOK, source.provide_credentials()).await {
        Ok(Ok(credentials)) => credentials,
        Ok(Err(error)) => return Err(explain(place, &error)),
        Err(_) => {
            let message = format!("{place}: no AWS credentials came within {} s", FIRST_LOOK.as_secs());
            return Err(StoreError::Unavailable(message));
        }
    };
    let first = Arc::new(Mutex::new(Some(first)));
    Ok(SharedCredentialsProvider::new(provide_credentials_fn(move || {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let source = source.clone();
        async move {
            match first {
                Some(credentials) => Ok(credentials),
                None => source.provide_credentials().await,
            }
        }
    })))
}

/// A profile that is named in the configuration goes before the environment, as with `aws --profile`.
fn of_profile(profile: &str, sdk: &SdkConfig, http: &SharedHttpClient) -> SharedCredentialsProvider {
    let config =
        ProviderConfig::without_region().with_region(sdk.region().cloned()).with_http_client(http.clone());
    let provider = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile).build();
    SharedCredentialsProvider::new(provider)
}

/// What a failed look for credentials means: one that found none, or a wrong setting, fails again; a source
/// that did not answer may answer later.
pub(super) fn explain(place: &Place, error: &CredentialsError) -> StoreError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => missing(place),
        CredentialsError::InvalidConfiguration(_) => StoreError::Refused(format!(
            "{place}: the AWS credentials are set up wrongly: {}. Correct ~/.aws/config or the environment",
            innermost(error)
        )),
        _ => StoreError::Unavailable(format!(
            "{place}: AWS credentials cannot be had now: {}. If this machine has no role, set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the runner's environment, or name a `profile`",
            innermost(error.source().unwrap_or(error))
        )),
    }
}

fn missing(place: &Place) -> StoreError {
    let of_environment = || env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
    let named =
        place.profile.clone().or_else(|| of_environment().map(|profile| format!("{profile} (AWS_PROFILE)")));
    StoreError::Refused(match named {
        Some(profile) => format!(
            "{place}: profile {} gives no AWS credentials. Check it in ~/.aws/config and \
             ~/.aws/credentials of the user that this runs as",
            one_line(&profile)
        ),
        None => format!(
            "{place}: there are no AWS credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the \
             runner's environment, name a `profile`, or give this machine a role"
        ),
    })
}
