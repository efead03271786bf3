//! What the client records of how holds end.

use std::time::Duration;

use pipeline_lock::{
    Client, Lock,
    client::AcquireOptions,
    lock::{Ending, EpochMs, How, Request, Term, Who},
};

use crate::{
    in_time, is_held,
    moody::{Mood, Moody},
    name, request, wait,
};

async fn history(client: &Client) -> Vec<Ending> {
    in_time("recording", client.recorded()).await;
    client.history(&name()).await.unwrap()
}

#[tokio::test]
async fn a_hold_that_is_given_back_is_recorded_with_who_and_how_long() {
    let (_, client) = Moody::client();
    let who = Who { job: "deploy".into(), ..Who::default() };
    let lock = Lock::new("shop/production").unwrap().who(who.clone());
    let guard = in_time("acquiring", lock.acquire(&client)).await.unwrap();
    let fence = guard.fence();
    guard.release().await.unwrap();
    let endings = history(&client).await;
    let [ending] = endings.as_slice() else { panic!("{endings:?}") };
    assert_eq!((&ending.who, ending.fence, ending.how), (&who, fence, How::Released));
    assert!(ending.held < Duration::from_secs(20), "{ending:?}");
}

#[tokio::test]
async fn a_dropped_guard_is_recorded_too_even_when_its_client_is_gone() {
    let (_, client) = Moody::client();
    let other = client.clone();
    let guard = in_time("acquiring", Lock::new("shop/production").unwrap().acquire(&other)).await.unwrap();
    drop((other, guard));
    let recorded = async {
        while client.history(&name()).await.unwrap().is_empty() {
            tokio::task::yield_now().await
        }
    };
    in_time("the record", recorded).await;
    assert!(!is_held(&client).await);
}

#[tokio::test]
async fn who_removes_a_hold_whose_time_is_over_records_that_it_expired() {
    let (_, client) = Moody::client();
    let over = Request { term: Term::Static { until: Some(EpochMs(1)) }, ..request() };
    let first = in_time("acquiring", client.acquire(&name(), over, wait(), |_| {})).await.unwrap();
    let next = in_time("acquiring", client.acquire(&name(), request(), wait(), |_| {})).await.unwrap();
    let endings = history(&client).await;
    let told: Vec<_> = endings.iter().map(|ending| (ending.fence, ending.how)).collect();
    assert_eq!(told, [(first.fence(), How::Expired)]);
    next.release().await.unwrap();
    assert_eq!(history(&client).await.len(), 2);
}

#[tokio::test]
async fn a_hold_whose_end_was_asked_for_is_recorded_as_revoked() {
    let (_, client) = Moody::client();
    let often = AcquireOptions { heartbeat: Some(Duration::from_millis(20)), ..wait() };
    let hold = in_time("acquiring", client.acquire(&name(), request(), often, |_| {})).await.unwrap();
    assert!(client.revoke(&name(), hold.token(), "somebody").await.unwrap());
    let mut status = hold.watch();
    in_time("hearing of it", status.wait_for(|status| status.loss().is_some())).await.unwrap();
    hold.release().await.unwrap();
    assert_eq!(history(&client).await[0].how, How::Revoked);
}

#[tokio::test]
async fn a_store_that_takes_no_record_costs_nobody_a_lock() {
    let (store, client) = Moody::client();
    store.set(Mood::Forgetful);
    let hold = in_time("acquiring", client.acquire(&name(), request(), wait(), |_| {})).await.unwrap();
    in_time("the release", hold.release()).await.unwrap();
    assert!(!is_held(&client).await);
    assert_eq!(history(&client).await, []);
}

#[tokio::test]
async fn no_history_is_no_request() {
    let (store, client) = Moody::client();
    let client = client.with_history(false);
    let hold = in_time("acquiring", client.acquire(&name(), request(), wait(), |_| {})).await.unwrap();
    hold.release().await.unwrap();
    client.recorded().await;
    assert_eq!(store.requests(), 2, "one write to take it, one to give it back");
}
