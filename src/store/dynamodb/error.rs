//! What a failed request means for us: whether a write may have taken effect, and what to do.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ConnectorError, ProvideErrorMetadata, SdkError},
};

use super::{
    cause::{find, innermost},
    connect::{CONNECT_TIMEOUT, REQUEST_TIMEOUT},
    credentials,
    http::Failed,
    place::Place,
    reply::{Reply, no_dynamodb},
};
use crate::store::StoreError;

/// The error of a request for `action` (as IAM names it, such as `UpdateItem`).
pub(super) fn explain<E>(place: &Place, action: &'static str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(service) => Reply {
            place,
            action,
            status: service.raw().status().as_u16(),
            code: service.err().code().unwrap_or_default(),
            message: service.err().message().unwrap_or_default(),
        }
        .explain(),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) => on_the_way(place, error),
            None => StoreError::Unanswered(format!("{place}: the request failed on its way")),
        },
        SdkError::TimeoutError(_) => StoreError::Unanswered(format!(
            "{place}: no reply to {action} within {} s",
            REQUEST_TIMEOUT.as_secs()
        )),
        SdkError::ResponseError(response) => {
            no_dynamodb(place, response.raw().status().as_u16(), &innermost(error))
        }
        other => StoreError::Refused(format!("{place}: {action} cannot be asked for: {}", innermost(other))),
    }
}

/// A request that brought no reply.
fn on_the_way(place: &Place, error: &ConnectorError) -> StoreError {
    if let Some(error) = find::<CredentialsError>(error) {
        return credentials::explain(place, error);
    }
    let service = place.service();
    let cause = innermost(error);
    match find::<Failed>(error) {
        // It never left: the endpoint, the region or the signature could not be worked out.
        None => StoreError::Refused(format!("{place}: the request cannot be made: {cause}")),
        Some(failed) if failed.may_have_arrived => {
            StoreError::Unanswered(format!("{place}: the connection to {service} broke: {cause}"))
        }
        Some(_) if cause.contains("invalid peer certificate") => StoreError::Refused(format!(
            "{place}: {service} is not trusted: {cause}. Install its authority among this machine's root \
             certificates"
        )),
        Some(_) if error.is_timeout() => StoreError::Unavailable(format!(
            "{place}: no connection to {service} within {} ms. Check the network, a firewall, or the \
             `region`",
            CONNECT_TIMEOUT.as_millis()
        )),
        Some(_) => StoreError::Unavailable(format!(
            "{place}: {service} cannot be reached: {cause}. Check the network, a proxy (HTTPS_PROXY), and the `region` or \
             `endpoint_url`"
        )),
    }
}
