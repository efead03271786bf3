//! What is in the table, as DynamoDB itself shows it.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;

use super::place::{Item, Place, text};

/// The types of what is counted or compared, at the top and in each holder.
fn numbers(item: &Item) -> Vec<&AttributeValue> {
    let top = ["Format", "Rev", "Fence", "ExpiresAt"].iter().filter_map(|key| item.get(*key));
    let holders = item["Holders"].as_l().unwrap().iter().map(|holder| holder.as_m().unwrap());
    let inner =
        holders.flat_map(|h| ["Beat", "Lease", "Since", "Fence"].into_iter().filter_map(|key| h.get(key)));
    top.chain(inner).collect()
}

/// The lease is written as a number and read as a string: it never ends. Here all that is compared is a number in the
/// table, and an item where it is not is an error that names it.
#[tokio::test]
async fn bug_10_a_lease_of_the_wrong_type_never_ends() {
    let place = Place::new().await;
    let guard = place.held().await;
    let item = place.item().await.unwrap();
    let found = numbers(&item);
    assert_eq!(found.len(), 3 + 3, "{item:?}");
    assert!(found.iter().all(|value| value.is_n()), "{found:?}");
    guard.release().await.unwrap();

    let _held = place.lock().acquire(&place.direct).await.unwrap();
    for attribute in ["Holders[0].Lease", "Holders[0].Beat", "Rev"] {
        place.set(attribute, text("4000")).await;
        let error = place.lock().acquire(&place.through).await.unwrap_err();
        let name = attribute.rsplit('.').next().unwrap();
        let said = error.to_string();
        assert!(said.contains(name) && said.contains(&place.name), "{said}");
        place.set(attribute, super::place::number(4_000)).await;
    }
}

/// The time to live is written in milliseconds, and nothing is ever deleted. DynamoDB wants seconds.
#[tokio::test]
async fn bug_11_the_time_to_live_is_in_milliseconds() {
    let place = Place::new().await;
    let guard = place.held().await;
    assert!(!place.item().await.unwrap().contains_key("ExpiresAt"), "what is held is never deleted");
    guard.release().await.unwrap();
    let item = place.item().await.unwrap();
    let at: u64 = item["ExpiresAt"].as_n().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let days = Duration::from_secs(at - now).as_secs() / (24 * 3600);
    assert!((29..=30).contains(&days), "{at} is in {days} days");
}
