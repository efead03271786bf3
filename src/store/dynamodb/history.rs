//! The history of a lock: an item for each of its places, beside the lock's own. One item for all would be
//! paid for as a whole with every write, and a write here costs no more than it must.

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::task::JoinSet;

use super::{
    connect::Connection,
    error::explain,
    item::{self, Item, KEY, attribute, number},
};
use crate::{
    lock::{CodecError, Ending, HISTORY_LENGTH, LockName, Map, Value, codec},
    store::{
        StoreError,
        history::{expiry, newest_first},
    },
};

/// The attribute that has the ending; nothing else has one of this name.
pub(super) const ENDING: &str = "Ending";

/// How many places are read at a time.
const READERS: u64 = 8;

/// The key of a place. It is no lock's name, as those have no control characters, and it begins with the
/// lock's own: so a policy that allows names of one prefix allows their histories.
fn key(name: &LockName, place: u64) -> AttributeValue {
    AttributeValue::S(format!("{name}\u{1f}history\u{1f}{place:02}"))
}

/// Writes an ending to its place, over what is there.
pub(super) async fn record(
    connection: &Connection,
    name: &LockName,
    ending: &Ending,
) -> Result<(), StoreError> {
    let Connection { client, place, clock, .. } = connection;
    client
        .update_item()
        .table_name(&place.table)
        .key(KEY, key(name, Ending::place(ending.fence)))
        .update_expression("SET #Ending = :ending, #ExpiresAt = :expires")
        .expression_attribute_names("#Ending", ENDING)
        .expression_attribute_names("#ExpiresAt", "ExpiresAt")
        .expression_attribute_values(":ending", attribute(Value::M(codec::encode_ending(ending))))
        .expression_attribute_values(":expires", number(expiry(clock.now())))
        .send()
        .await
        .map(drop)
        .map_err(|error| explain(place, "UpdateItem", &error))
}

/// Reads all places.
pub(super) async fn endings(connection: &Connection, name: &LockName) -> Result<Vec<Ending>, StoreError> {
    let mut readers = JoinSet::new();
    for first in 0..READERS {
        let (client, place, name) = (connection.client.clone(), connection.place.clone(), name.clone());
        readers.spawn(async move {
            let mut found = Vec::new();
            for at in (first..HISTORY_LENGTH).step_by(READERS as usize) {
                let reply = client.get_item().table_name(&place.table).key(KEY, key(&name, at)).send().await;
                found.extend(reply.map_err(|error| explain(&place, "GetItem", &error))?.item);
            }
            Ok::<Vec<Item>, StoreError>(found)
        });
    }
    let mut maps = Vec::new();
    while let Some(read) = readers.join_next().await {
        let items =
            read.map_err(|_| StoreError::Unavailable(format!("{}: not read", connection.place)))??;
        maps.extend(items.into_iter().map(|item| ending_of(name, item)));
    }
    Ok(newest_first(name, maps))
}

fn ending_of(name: &LockName, item: Item) -> Result<Map, CodecError> {
    match item::map(name, item) {
        Ok(mut map) => match map.remove(ENDING) {
            Some(Value::M(ending)) => Ok(ending),
            _ => Err(CodecError::Foreign),
        },
        Err(StoreError::Document { error, .. }) => Err(error),
        Err(_) => Err(CodecError::Foreign),
    }
}
