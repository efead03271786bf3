//! The table itself: created once, by an operator.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
        TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use tokio::time::Instant;

use super::{
    DynamoDbSettings,
    connect::{Connection, connect},
    error::explain,
    item::KEY,
    place::Place,
};
use crate::store::StoreError;

/// The attribute by which DynamoDB deletes what nobody has held or awaited for long.
const EXPIRY: &str = "ExpiresAt";

/// Between two looks at a table that is not ready.
const LOOK: Duration = Duration::from_millis(500);

/// How often a table is asked for once more when nobody has answered.
const MORE_TRIES: u32 = 2;

/// What became of a request for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableCreation {
    /// The table was created and is ready.
    Created,
    /// It was there, with the right key; its time-to-live is on now, if it was not.
    WasThere,
}

/// Creates the table (paid by request, key `LockID`, time-to-live on `ExpiresAt`) and waits at most `timeout`
/// until it is ready. Does no harm to a table that is there.
///
/// # Errors
/// [`StoreError::Refused`] if a table of that name has another key or another time-to-live attribute, or an
/// action is not allowed; [`StoreError::Unavailable`] if it is not ready in time (ask again).
pub async fn create_table(
    settings: &DynamoDbSettings,
    timeout: Duration,
) -> Result<TableCreation, StoreError> {
    let deadline = Instant::now() + timeout;
    let Connection { client, place, .. } = connect(settings).await?;
    let creation = create(&client, &place).await?;
    let table = wait_until_active(&client, &place, deadline).await?;
    check_key(&place, &table)?;
    turn_expiry_on(&client, &place).await?;
    Ok(creation)
}

async fn create(client: &Client, place: &Place) -> Result<TableCreation, StoreError> {
    let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
    let kind =
        AttributeDefinition::builder().attribute_name(KEY).attribute_type(ScalarAttributeType::S).build();
    let request = client
        .create_table()
        .table_name(&place.table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.map_err(|error| StoreError::Refused(error.to_string()))?)
        .attribute_definitions(kind.map_err(|error| StoreError::Refused(error.to_string()))?);
    let mut unanswered = 0;
    loop {
        let error = match request.clone().send().await {
            Ok(_) => return Ok(TableCreation::Created),
            Err(error) => error,
        };
        match (error.as_service_error(), explain(place, "CreateTable", &error)) {
            // Made by the request before, as far as can be told.
            (Some(CreateTableError::ResourceInUseException(_)), _) if unanswered > 0 => {
                return Ok(TableCreation::Created);
            }
            (Some(CreateTableError::ResourceInUseException(_)), _) => return Ok(TableCreation::WasThere),
            (_, StoreError::Unanswered(_)) if unanswered < MORE_TRIES => unanswered += 1,
            (_, error) => return Err(error),
        }
    }
}

async fn wait_until_active(
    client: &Client,
    place: &Place,
    deadline: Instant,
) -> Result<TableDescription, StoreError> {
    let mut status;
    loop {
        status = match client.describe_table().table_name(&place.table).send().await {
            Ok(reply) => match reply.table {
                Some(table) if is_usable(&table) => return Ok(table),
                table => table.and_then(|table| table.table_status).map(|status| status.to_string()),
            },
            // A new table is not seen everywhere at once.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                None
            }
            Err(error) => {
                let error = explain(place, "DescribeTable", &error);
                if !error.is_passing() {
                    return Err(error);
                }
                Some(error.to_string())
            }
        };
        if Instant::now() + LOOK > deadline {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(StoreError::Unavailable(format!(
        "{place}: the table is not ready yet ({}). Ask again in a minute",
        status.as_deref().unwrap_or("it is not seen yet")
    )))
}

fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status, Some(TableStatus::Active | TableStatus::Updating))
}

fn check_key(place: &Place, table: &TableDescription) -> Result<(), StoreError> {
    let is_ours = match table.key_schema() {
        [key] => key.attribute_name() == KEY && *key.key_type() == KeyType::Hash,
        _ => false,
    };
    let is_text = table
        .attribute_definitions()
        .iter()
        .any(|a| a.attribute_name() == KEY && *a.attribute_type() == ScalarAttributeType::S);
    if is_ours && is_text {
        return Ok(());
    }
    let key: Vec<String> = table
        .key_schema()
        .iter()
        .map(|key| {
            let name = key.attribute_name();
            let kind = table.attribute_definitions().iter().find(|a| a.attribute_name() == name);
            format!("{name} {}", kind.map_or("?", |a| a.attribute_type().as_str()))
        })
        .collect();
    Err(StoreError::Refused(format!(
        "{place}: the table is there with the key {}, and locks need the partition key {KEY} S and no sort \
         key. Choose another table",
        key.join(", ")
    )))
}

async fn turn_expiry_on(client: &Client, place: &Place) -> Result<(), StoreError> {
    let reply = client
        .describe_time_to_live()
        .table_name(&place.table)
        .send()
        .await
        .map_err(|error| explain(place, "DescribeTimeToLive", &error))?;
    if let Some(expiry) = reply.time_to_live_description
        && matches!(expiry.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    {
        return match expiry.attribute_name.as_deref() {
            Some(EXPIRY) => Ok(()),
            other => Err(StoreError::Refused(format!(
                "{place}: the table's time-to-live is on {}, and locks need it on {EXPIRY}. Turn it off, or \
                 choose another table",
                other.unwrap_or("another attribute")
            ))),
        };
    }
    let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRY).build();
    client
        .update_time_to_live()
        .table_name(&place.table)
        .time_to_live_specification(expiry.map_err(|error| StoreError::Refused(error.to_string()))?)
        .send()
        .await
        .map_err(|error| explain(place, "UpdateTimeToLive", &error))?;
    Ok(())
}
