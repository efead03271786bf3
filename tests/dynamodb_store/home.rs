//! One region decides a lock.

use pipeline_lock::{
    lock::Beat,
    store::{Consistency, DynamoDbSettings, DynamoDbStore, Expected, Renewal, Store, StoreError, Swap},
};

use crate::support::{REGION, SEED, Table, held, holder, name, token};

#[tokio::test]
async fn a_lock_of_another_region_is_refused_naming_both() {
    let table = Table::new().await;
    let (store, lock) = (table.store().await, name("lock"));
    let free = Expected::Free { seed: SEED };
    let swap = store.swap(&lock, free, &held(vec![holder(token(1), 0)])).await.unwrap();
    let Swap::Swapped(_) = swap else { panic!("{swap:?}") };
    let abroad = DynamoDbSettings { region: Some("us-east-1".into()), ..table.settings.clone() };
    let abroad = DynamoDbStore::connect(&abroad).await.unwrap();
    let refused = |error: StoreError| {
        let text = error.to_string();
        assert!(matches!(error, StoreError::Refused(_)), "{text}");
        assert!(text.contains(REGION) && text.contains("us-east-1"), "{text}");
    };
    refused(abroad.read(&lock, Consistency::Strong).await.unwrap_err());
    refused(abroad.list(Consistency::Strong).await.unwrap_err());
    let own = abroad.renew(&lock, token(1), Beat(1)).await.unwrap();
    let Renewal::Renewed(state) = own else {
        panic!("one's own hold is renewed wherever it was granted: {own:?}")
    };
    let mut released = state.clone();
    released.release(token(1));
    released.seal(SEED);
    assert!(matches!(store.swap(&lock, Expected::This(&state), &released).await, Ok(Swap::Swapped(_))));
    // A free lock is not taken over either.
    refused(abroad.swap(&lock, free, &held(vec![holder(token(2), 0)])).await.unwrap_err());
    assert!(store.read(&lock, Consistency::Strong).await.unwrap().unwrap().is_free());
}
