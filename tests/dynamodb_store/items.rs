//! Items that other programs wrote, and many of them.

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{
    lock::CodecError,
    store::{Consistency, DynamoDbSettings, DynamoDbStore, Expected, Store, StoreError, Swap},
};

use crate::harness::{Kind, Proxy, endpoint};
use crate::support::{SEED, Table, held, holder, name, number, text, token};

#[tokio::test]
async fn the_item_of_another_program_is_an_error_that_names_the_lock() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("terraform/state"));
    table.put(&lock, &[("Info", text("{}"))]).await;
    let free = Expected::Free { seed: SEED };
    let swap = store.swap(&lock, free, &held(vec![holder(token(1), 0)])).await;
    for error in [store.read(&lock, Consistency::Strong).await.unwrap_err(), swap.unwrap_err()] {
        assert!(matches!(error, StoreError::Document { error: CodecError::Foreign, .. }), "{error}");
        assert!(error.to_string().contains("terraform/state"), "{error}");
    }
    assert_eq!(table.item(&lock).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_list_has_every_lock_of_a_table_of_several_pages_and_nothing_else() {
    let table = Table::new().await;
    let store = table.store().await;
    let pad = AttributeValue::S("x".repeat(380_000));
    for n in 0..6_u128 {
        let lock = name(&format!("lock-{n}"));
        let free = Expected::Free { seed: SEED };
        let swap = store.swap(&lock, free, &held(vec![holder(token(n), 0)])).await;
        assert!(matches!(swap, Ok(Swap::Swapped(_))));
        table.set(&lock, "Pad", pad.clone()).await;
    }
    table.put(&name("foreign"), &[("Info", text("{}"))]).await;
    table.put(&name("damaged"), &[("Format", number(1))]).await;
    let names: Vec<String> =
        store.list(Consistency::Strong).await.unwrap().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["lock-0", "lock-1", "lock-2", "lock-3", "lock-4", "lock-5"]);
}

/// DynamoDB Local shows all that was written before in any case: so what counts is what is asked for.
#[tokio::test]
async fn a_read_is_as_sure_as_it_was_asked_to_be() {
    let table = Table::new().await;
    let proxy = Proxy::to(&endpoint());
    let by_proxy = DynamoDbSettings { endpoint_url: Some(proxy.url.clone()), ..table.settings.clone() };
    let store = DynamoDbStore::connect(&by_proxy).await.unwrap();
    for consistency in [Consistency::Strong, Consistency::Eventual] {
        store.read(&name("lock"), consistency).await.unwrap();
        store.list(consistency).await.unwrap();
    }
    let asked: Vec<_> = proxy.seen().iter().map(|seen| (seen.kind, seen.is_strong)).collect();
    assert_eq!(asked, [(Kind::Read, true), (Kind::Scan, true), (Kind::Read, false), (Kind::Scan, false)]);
}
