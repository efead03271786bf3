//! Acquires and waiters.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use pipeline_lock::{client::HostClock, lock::Token};
use tokio::time::timeout;

use super::place::{LEASE, Place, SOON, number, text, until, until_so};
use crate::harness::{Fault, Kind};

/// aws-sdk-java 2667, KCL777: the write lands, its reply is lost, and the retry fails of its own item. Here the Token in
/// the document that comes with the refusal tells whose it is.
#[tokio::test]
async fn bug_02_an_acquire_waits_for_itself() {
    let place = Place::new().await;
    place.proxy.once(&[Kind::FirstWrite], Fault::lost_reply());
    let guard = timeout(SOON, place.lock().acquire(&place.through)).await.expect("at once").unwrap();
    let state = place.look().await.unwrap();
    assert_eq!((state.holders.len(), state.queue.len()), (1, 0));
    guard.release().await.unwrap();

    // The same for the claim of a waiter.
    let holder = place.lock().acquire(&place.direct).await.unwrap();
    place.proxy.once(&[Kind::Claim], Fault::lost_reply());
    let waiting = tokio::spawn({
        let (lock, client) = (place.lock(), place.through.clone());
        async move { lock.acquire(&client).await }
    });
    until_so("it waits", async || place.waiters().await == 1).await;
    holder.release().await.unwrap();
    let guard = timeout(SOON, waiting).await.expect("at once").unwrap().unwrap();
    assert_eq!(place.proxy.hits(), 2);
    guard.release().await.unwrap();
    assert_eq!(place.holders().await, 0);
}

/// A live hold as a holder wrote it that died long ago, at a time that its clock told.
fn dead_hold(since: u64) -> Vec<(String, AttributeValue)> {
    let holder = [
        ("Owner", text("job:gitlab.example.com/1")),
        ("Token", text(&Token::new(uuid::Uuid::new_v4()).to_string())),
        ("Beat", number(7)),
        ("Lease", number(LEASE.as_millis() as u64)),
        ("Since", number(since)),
    ];
    let holder = holder.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let holders = AttributeValue::L(vec![AttributeValue::M(holder)]);
    [
        ("Format", number(1)),
        ("Rev", number(1_700_000_000_000)),
        ("Fence", number(1_700_000_000_000)),
        ("Holders", holders),
        ("Queue", AttributeValue::L(Vec::new())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// KCL1803, LC93, DL682: who has just come decides by one look that a lease is over. Here everybody watches for a whole
/// lease, whatever times the document has.
#[tokio::test]
async fn bug_09_one_look_decides_that_a_lease_is_over() {
    let place = Place::new().await;
    place.put(dead_hold(1_000_000_000_000).into_iter().collect()).await;
    assert!(place.is_taken().await, "one look shows nothing");
    let since = Instant::now();
    let guard = place.held().await;
    assert!(since.elapsed() > LEASE, "it took only {:?}", since.elapsed());
    assert!(since.elapsed() < LEASE * 2 + SOON, "it took {:?}", since.elapsed());
    guard.release().await.unwrap();
}

/// DL56: of two who see the lock free at once, the one that comes second gets an error.
#[tokio::test]
async fn bug_13_the_loser_of_a_race_gets_an_error() {
    let place = Place::new().await;
    let holder = place.held().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (lock, other) = (place.lock(), Place::on(HostClock).await);
        waiting.spawn(async move {
            let guard = lock.acquire(&other).await.map_err(|error| error.to_string())?;
            guard.release().await.map_err(|error| error.to_string())
        });
    }
    until_so("some wait", async || place.waiters().await > 2).await;
    holder.release().await.unwrap();
    let all: Result<Vec<_>, String> = waiting.join_all().await.into_iter().collect();
    assert_eq!(all.expect("each gets its turn").len(), 6);
}

/// digger 1403: a read that may be old, and then a write without a condition. Here a read decides nothing: the write that
/// follows is for the revision that was read.
#[tokio::test]
async fn bug_15_an_old_read_is_believed() {
    let place = Place::new().await;
    let holder = place.lock().acquire(&place.direct).await.unwrap();
    let waiting = tokio::spawn({
        let (lock, client) = (place.lock(), place.through.clone());
        async move { lock.acquire(&client).await }
    });
    until_so("it waits", async || place.waiters().await == 1).await;
    until("it polls", || place.proxy.last_reply(Kind::Read).is_some()).await;
    // What a replica says that has not heard of the holder yet.
    let mut old: serde_json::Value =
        serde_json::from_str(&place.proxy.last_reply(Kind::Read).unwrap()).unwrap();
    let rev: u64 = old["Item"]["Rev"]["N"].as_str().unwrap().parse().unwrap();
    old["Item"]["Holders"]["L"] = serde_json::json!([]);
    old["Item"]["Rev"]["N"] = serde_json::json!((rev - 1).to_string());
    place.proxy.fault(&[Kind::Read], Fault::genuine(&old.to_string()));
    until("it tries to claim, twice", || place.proxy.count(Kind::Claim) >= 2).await;
    assert!(!waiting.is_finished());
    assert_eq!((place.holders().await, place.waiters().await), (1, 1));
    place.proxy.mend();
    holder.release().await.unwrap();
    timeout(SOON, waiting).await.expect("its turn").unwrap().unwrap().release().await.unwrap();
}

/// V5077, V6636: those who poll use up the table, and renewals starve. Here who is throttled polls less and less often,
/// and renewals go on as before.
#[tokio::test]
async fn bug_17_pollers_starve_the_renewals() {
    let place = Place::new().await;
    let busy = Place::new().await;
    let holder = place.held().await;
    let since = Instant::now();
    place.proxy.faults(&[Kind::Renewal], vec![Fault::throttled(), Fault::late_reply(Duration::ZERO)]);
    busy.proxy.fault(&[Kind::Read], Fault::throttled());
    let waiting = tokio::spawn({
        let (lock, client) = (place.lock(), busy.through.clone());
        async move { lock.acquire(&client).await }
    });
    until("renewals get through", || place.proxy.count(Kind::Renewal) >= 6).await;
    // A second from one to the next, or from a refusal to the next try.
    assert!(since.elapsed() < Duration::from_secs(9), "it took {:?}", since.elapsed());
    assert!(holder.status().loss().is_none());
    let reads: Vec<Instant> =
        busy.proxy.seen().iter().filter(|seen| seen.kind == Kind::Read).map(|seen| seen.at).collect();
    let gaps: Vec<Duration> = reads.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 3 && gaps.last() > Some(&(gaps[0] * 4)), "{gaps:?}");
    busy.proxy.mend();
    holder.release().await.unwrap();
    // The slowest of those who were throttled look every twenty seconds.
    timeout(SOON * 4, waiting).await.expect("its turn").unwrap().unwrap().release().await.unwrap();
}
