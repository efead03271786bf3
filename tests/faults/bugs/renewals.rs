//! Renewals.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use pipeline_lock::{
    client::{Clock, Given, HoldStatus, HostClock, Loss},
    lock::{EpochMs, Moment},
};
use tokio::time::timeout;

use super::place::{LEASE, Place, SOON, until, until_so};
use crate::harness::{Fault, Kind};

fn is_held(status: &HoldStatus) -> bool {
    matches!(status, HoldStatus::Held { .. })
}

/// DL280, KCL325: a renewal lands, its reply is lost, the next one fails its condition, and a live lock is given up.
/// Here a beat that is there already is moved on, and the Token decides whose it is.
#[tokio::test]
async fn bug_01_a_renewals_lost_reply_abandons_a_live_lock() {
    let place = Place::new().await;
    let guard = place.held().await;
    place.proxy.once(&[Kind::Renewal], Fault::lost_reply());
    place.until_hit(1).await;
    place.until_renewed(2).await;
    assert!(is_held(&guard.status()), "{:?}", guard.status());
    assert!(place.is_taken().await);
    assert_eq!(guard.release().await.unwrap(), Given::Back);
}

/// TL21, TL35, LC116: a release races the heartbeat, and is refused, or the heartbeat revives what was released. Here a
/// release that meets another revision looks again, and a renewal never makes anything.
#[tokio::test]
async fn bug_04_a_release_races_the_heartbeat() {
    let place = Place::new().await;
    let guard = place.held().await;
    // The renewal moves the document on, unseen, and the release is computed from the one before.
    place.proxy.once(&[Kind::Renewal], Fault::late_reply(Duration::from_secs(4)));
    place.until_hit(1).await;
    let since = Instant::now();
    assert_eq!(guard.release().await.unwrap(), Given::Back);
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    assert_eq!(place.holders().await, 0);

    let guard = place.held().await;
    // This one arrives after the release.
    place.proxy.once(&[Kind::Renewal], Fault::late_request(Duration::from_millis(500)));
    let before = place.proxy.passed();
    place.until_hit(2).await;
    guard.release().await.unwrap();
    let released = place.item().await.unwrap();
    // The release, its record in the history, and the renewal.
    until("the renewal arrives", || place.proxy.passed() >= before + 3).await;
    assert_eq!(place.item().await.unwrap(), released);
}

/// DynamoDB's UpdateItem makes an item where there is none: a renewal or a release brings a deleted lock back.
#[tokio::test]
async fn bug_05_an_update_makes_the_item_of_a_released_lock() {
    let place = Place::new().await;
    let guard = place.held().await;
    place.delete().await;
    let loss = timeout(SOON, guard.lost(Duration::ZERO)).await.expect("the next renewal sees it");
    assert_eq!(loss, Loss::Gone);
    assert_eq!(place.item().await, None, "a renewal makes nothing");
    assert_eq!(guard.release().await.unwrap(), Given::Back);
    assert_eq!(place.item().await, None, "neither does a release");
}

/// DL14: the heartbeat's loop ends with the first error. Here only the lease ends a hold.
#[tokio::test]
async fn bug_06_the_heartbeat_dies_of_its_first_error() {
    tokio::join!(
        outlives(vec![Fault::server_error(), Fault::throttled()]),
        outlives(vec![Fault::expired(), Fault::page()]),
        outlives(vec![Fault::lost_request(), Fault::error(400, "AccessDeniedException")]),
    );
}

/// Each of the faults meets a renewal, and the hold goes on.
async fn outlives(faults: Vec<Fault>) {
    let place = Place::new().await;
    let guard = place.held().await;
    let (deadline, times) = (guard.status().deadline(), faults.len());
    place.proxy.faults(&[Kind::Renewal], faults);
    place.until_hit(times).await;
    place.proxy.mend();
    until("it is renewed", || guard.status().deadline() > deadline).await;
    assert!(is_held(&guard.status()));
    guard.release().await.unwrap();
}

/// DL446: whoever asks to be told of the loss is never told if the lease is over already.
#[tokio::test]
async fn bug_08_a_loss_is_never_told_when_the_lease_is_over() {
    let place = Place::new().await;
    let guard = place.held().await;
    place.proxy.silence();
    let deadline = guard.status().deadline().unwrap();
    place.through.clock().sleep_until(deadline).await;
    let told = timeout(Duration::from_millis(100), guard.lost(Duration::ZERO)).await;
    assert!(matches!(told.expect("at once"), Loss::Expiring { .. }));
    let told = timeout(Duration::from_millis(100), guard.watcher().lost(LEASE)).await;
    assert!(matches!(told.expect("by every watcher"), Loss::Expiring { .. }));
    place.proxy.mend();
    drop(guard);
    until_so("it is given back", async || place.holders().await == 0).await;
}

/// A host whose wall clock is wrong.
struct Wrong(fn(EpochMs) -> EpochMs);

#[async_trait]
impl Clock for Wrong {
    fn now(&self) -> Moment {
        HostClock.now()
    }

    fn wall(&self) -> EpochMs {
        (self.0)(HostClock.wall())
    }

    async fn sleep_until(&self, moment: Moment) {
        HostClock.sleep_until(moment).await;
    }
}

/// V2141: a lease that is judged by wall clocks is over for a host whose clock is ahead. Here a waiter counts on its own
/// clock since boot for how long a beat has stood still.
#[tokio::test]
async fn bug_14_a_clock_that_is_wrong_ends_a_live_hold() {
    const YEAR: u64 = 365 * 24 * 3600 * 1000;
    let place = Place::new().await;
    let behind = Place::on(Wrong(|now| EpochMs(now.0 - 10 * YEAR))).await;
    let ahead = Place::on(Wrong(|now| EpochMs(now.0 + 10 * YEAR))).await;
    let holder = place.lock().acquire(&behind).await.unwrap();
    let waiting = place.lock().acquire(&ahead);
    let longer_than_the_lease = LEASE.mul_f64(1.05) + Duration::from_millis(2500);
    tokio::pin!(waiting);
    let early = timeout(longer_than_the_lease, &mut waiting).await;
    assert!(early.is_err(), "the hold lives: {early:?}");
    assert!(is_held(&holder.status()));
    holder.release().await.unwrap();
    timeout(SOON, waiting).await.expect("its turn").unwrap().release().await.unwrap();
}
