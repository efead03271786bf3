//! Whether a reply is one of DynamoDB's. What a captive portal, a proxy or a broken server answers with HTTP 200 must
//! not pass for a write that took effect: the empty reply to a swap is as short as a good one.

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
};

/// The header that every reply of DynamoDB has, and no page of anybody else.
pub(super) const REQUEST_ID: &str = "x-amzn-requestid";

/// Lets only those replies pass as good that can be DynamoDB's.
#[derive(Debug)]
pub(super) struct OnlyDynamoDb;

impl Intercept for OnlyDynamoDb {
    fn name(&self) -> &'static str {
        "OnlyDynamoDb"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let reply = context.response();
        if !reply.status().is_success() {
            return Ok(());
        }
        if !reply.headers().contains_key(REQUEST_ID) {
            return Err("it lacks x-amzn-RequestId".into());
        }
        // Even where there is nothing to say, a reply is a document. The client takes none at all for an empty one.
        match reply.body().bytes() {
            Some(body) if body.trim_ascii_start().starts_with(b"{") => Ok(()),
            _ => Err("it is no document".into()),
        }
    }
}
