//! Items that other programs wrote, and many of them.

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{
    lock::CodecError,
    store::{Consistency, Expected, Store, StoreError, Swap},
};

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
