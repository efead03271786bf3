//! Creating the table.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use pipeline_lock::store::{
    Consistency, DynamoDbSettings, DynamoDbStore, Store, StoreError, TableCreation, create_table,
};

use crate::{
    harness::{Fault, Proxy, endpoint},
    support::{Table, settings},
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_table_is_created_with_time_to_live_and_creating_it_again_does_no_harm() {
    let table = Table::new().await;
    assert_eq!(create_table(&table.settings, SOON).await.unwrap(), TableCreation::WasThere);
    let reply = table.raw.describe_time_to_live().table_name(&table.settings.table).send().await.unwrap();
    let expiry = reply.time_to_live_description.unwrap();
    assert_eq!(expiry.attribute_name.as_deref(), Some("ExpiresAt"));
    assert_eq!(expiry.time_to_live_status, Some(TimeToLiveStatus::Enabled));
}

#[tokio::test]
async fn a_new_table_is_reported_as_created() {
    assert_eq!(create_table(&settings(), SOON).await.unwrap(), TableCreation::Created);
}

#[tokio::test]
async fn a_table_whose_creation_was_not_answered_is_created_all_the_same() {
    let proxy = Proxy::to(&endpoint());
    proxy.once(&[], Fault::lost_reply());
    let settings = DynamoDbSettings { endpoint_url: Some(proxy.url.clone()), ..settings() };
    assert_eq!(create_table(&settings, SOON).await.unwrap(), TableCreation::Created);
    assert_eq!(proxy.hits(), 1);
}

#[tokio::test]
async fn a_table_with_another_key_is_refused_naming_it() {
    let table = Table::new().await;
    let mut settings = table.settings.clone();
    settings.table = format!("{}-other", settings.table);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let kind = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::N);
    let create = table.raw.create_table().table_name(&settings.table);
    let create = create.billing_mode(BillingMode::PayPerRequest).key_schema(key);
    create.attribute_definitions(kind.build().unwrap()).send().await.unwrap();

    let error = create_table(&settings, SOON).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)));
    let text = error.to_string();
    assert!(text.contains("id N") && text.contains("LockID S"), "{text}");

    // An empty list would say that all is well.
    let put = table.raw.put_item().table_name(&settings.table).item("id", AttributeValue::N("1".into()));
    put.send().await.unwrap();
    let store = DynamoDbStore::connect(&settings).await.unwrap();
    let error = store.list(Consistency::Strong).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)) && error.to_string().contains("LockID"), "{error}");
}

#[tokio::test]
async fn a_table_whose_time_to_live_is_on_something_else_is_refused_naming_it() {
    let table = Table::new().await;
    let ttl = |enabled: bool, attribute: &str| {
        let ttl = TimeToLiveSpecification::builder().enabled(enabled).attribute_name(attribute).build();
        let update = table.raw.update_time_to_live().table_name(&table.settings.table);
        update.time_to_live_specification(ttl.unwrap()).send()
    };
    ttl(false, "ExpiresAt").await.unwrap();
    ttl(true, "Expires").await.unwrap();
    let error = create_table(&table.settings, SOON).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)));
    let text = error.to_string();
    assert!(text.contains("on Expires,") && text.contains("ExpiresAt"), "{text}");
}
