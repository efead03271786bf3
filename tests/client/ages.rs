//! How old a hold is: by the store's clock, whatever the clocks of its holder's host say.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Clock, Given, HostClock, Parting, Reservation},
    lock::{EpochMs, Moment, Owner, Request, Term, Who},
};

use crate::{in_time, moody::Moody, name, request, request_of, wait};

/// A host whose wall clock is wrong by so many seconds.
#[derive(Debug)]
struct Wrong(i64);

#[async_trait]
impl Clock for Wrong {
    fn now(&self) -> Moment {
        HostClock.now()
    }

    fn wall(&self) -> EpochMs {
        EpochMs(HostClock.wall().0.saturating_add_signed(self.0 * 1000))
    }

    async fn sleep_until(&self, at: Moment) {
        HostClock.sleep_until(at).await;
    }
}

const HOUR: i64 = 3600;

async fn forcing(client: &Client, after: Duration) -> Result<(), AcquireError> {
    let request = Request { force_after: Some(after), ..request() };
    let options = AcquireOptions::waiting(Duration::ZERO);
    in_time("forcing", client.acquire(&name(), request, options, |_| {})).await.map(drop)
}

#[tokio::test]
async fn a_hold_is_as_old_as_the_store_says_from_whatever_host_it_is() {
    for wrong in [-2 * HOUR, 2 * HOUR] {
        let (store, right) = Moody::client();
        let client = Client::with_clock(store.clone(), Arc::new(Wrong(wrong)), None);
        let hold = client.acquire(&name(), request(), wait(), |_| {}).await.unwrap();
        assert!(forcing(&right, Duration::from_secs(600)).await.is_err());
        let state = right.look(&name()).await.unwrap().unwrap();
        let holder = state.holder(hold.token()).unwrap();
        assert_eq!(holder.revoked, None, "a hold of this moment is not ten minutes old ({wrong})");
        assert!(right.store().now().since(holder.since) < Duration::from_secs(5));
        assert!(holder.since.since(right.store().now()) < Duration::from_secs(5));
        hold.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_right_clock_costs_no_request_more() {
    let (store, client) = Moody::client();
    let hold = client.acquire(&name(), request(), wait(), |_| {}).await.unwrap();
    assert_eq!(store.requests(), 1);
    drop(hold);
    let wrong = Client::with_clock(store.clone(), Arc::new(Wrong(HOUR)), None);
    assert!(forcing(&wrong, Duration::from_secs(600)).await.is_err(), "nor does it force who is young");
}

#[tokio::test]
async fn what_stands_for_a_pipeline_stands_by_the_stores_clock() {
    let (store, right) = Moody::client();
    let client = Client::with_clock(store.clone(), Arc::new(Wrong(-HOUR)), None);
    let minute = Duration::from_secs(60);
    let member = request_of(Owner::pipeline("gitlab.example", 1, 7), request().token);
    let options = AcquireOptions { parting: Parting::Linger(minute), ..wait() };
    let hold = client.acquire(&name(), member, options, |_| {}).await.unwrap();
    let token = hold.token();
    assert_eq!(hold.release().await.unwrap(), Given::Kept);
    let state = right.look(&name()).await.unwrap().unwrap();
    let Term::Static { until: Some(until) } = state.holder(token).unwrap().term else { panic!("{state:?}") };
    let left = until.since(right.store().now());
    assert!(left <= minute && left > minute / 2, "{left:?}");
}

#[tokio::test]
async fn a_reservation_is_as_old_as_the_store_says() {
    let (store, right) = Moody::client();
    let client = Client::with_clock(store.clone(), Arc::new(Wrong(2 * HOUR)), None);
    let token = request().token;
    let wanted = Reservation { token, who: Who::default(), reason: String::new(), lasting: None };
    let state = client.reserve(&name(), &wanted).await.unwrap().state;
    let since = state.holder(token).unwrap().since;
    assert!(since.since(right.store().now()) < Duration::from_secs(5), "{since}");
}
