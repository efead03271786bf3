//! A long wait, on a clock that passes as fast as it is asked to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Clock, Progress, Wish},
    lock::{EpochMs, LockName, LockState, Map, Moment, Request, Term, Value},
    store::{Expected, Store, StoreError, Swap},
};

use crate::{
    moody::{Mood, Moody},
    name, request,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever sleeps wakes at once, and it is later.
struct Rush(Mutex<Moment>);

#[async_trait]
impl Clock for Rush {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }

    fn wall(&self) -> EpochMs {
        EpochMs(0).plus(self.now().0)
    }

    async fn sleep_until(&self, moment: Moment) {
        {
            let mut now = self.0.lock().unwrap();
            *now = moment.max(*now);
        }
        tokio::task::yield_now().await;
    }
}

/// A hold that needs no renewal, and a queue of `count` behind it.
async fn crowd(store: &Moody, count: usize) {
    let mut state = LockState::new(EpochMs(1));
    for _ in 0..=count {
        let forever = Request { term: Term::Static { until: None }, ..request() };
        state.request(&forever, true);
    }
    let made = store.swap(&name(), Expected::Free { seed: EpochMs(1) }, &state).await.unwrap();
    assert!(matches!(made, Swap::Swapped(_)));
}

#[tokio::test]
async fn the_time_of_a_static_hold_counts_from_its_grant() {
    let (store, client) = Moody::client();
    let held = client.acquire(&name(), request(), AcquireOptions::waiting(HOUR), |_| {}).await.unwrap();
    let ttl = Duration::from_millis(50);
    let fixed = Request { term: Term::Static { until: Some(store.now().plus(ttl)) }, ..request() };
    let (waiting, token) = (client.clone(), fixed.token);
    let waiter =
        tokio::spawn(
            async move { waiting.acquire(&name(), fixed, AcquireOptions::waiting(HOUR), |_| {}).await },
        );
    tokio::time::sleep(ttl * 4).await;
    let before = store.now();
    held.release().await.unwrap();
    let granted = crate::in_time("the grant", waiter).await.unwrap().unwrap().known();
    let Term::Static { until: Some(until) } = granted.holder(token).unwrap().term else {
        panic!("{granted:?}")
    };
    assert!(until >= before.plus(ttl), "{until:?} was over when it was granted");
}

#[tokio::test]
async fn a_store_that_goes_away_while_it_is_waited_lengthens_no_wait() {
    let (store, _) = Moody::client();
    crowd(&store, 1).await;
    for (mood, minutes) in [(Mood::Away, 30), (Mood::Away, 59), (Mood::Refusing, 59)] {
        store.set(Mood::Well);
        let clock = Arc::new(Rush(Mutex::new(Moment(Duration::ZERO))));
        let client = Client::with_clock(store.clone(), clock.clone(), None);
        let goes_away = Duration::from_secs(minutes * 60 + 30);
        let news = |_| {
            if clock.now().0 >= goes_away {
                store.set(mood);
            }
        };
        let end = client.acquire(&name(), request(), AcquireOptions::waiting(HOUR), news).await;
        assert!(matches!(end, Err(AcquireError::Store { .. })), "{end:?}");
        let took = clock.now().0;
        assert!(
            took <= HOUR && took > HOUR - Duration::from_secs(10),
            "gone at {goes_away:?}, it took {took:?}"
        );
    }
}

#[tokio::test]
async fn a_waiter_far_behind_looks_every_ten_seconds_and_says_every_fifteen_that_it_waits() {
    let (store, _) = Moody::client();
    crowd(&store, 20).await;
    let clock = Arc::new(Rush(Mutex::new(Moment(Duration::ZERO))));
    let client = Client::with_clock(store.clone(), clock.clone(), None);
    let before = store.requests();
    let mut said = vec![Duration::ZERO];
    let news = |progress| {
        if let Progress::Waiting(_) = progress {
            said.push(clock.now().0);
        }
    };
    let options = AcquireOptions::waiting(HOUR);
    let end = client.acquire(&name(), request(), options, news).await;
    assert!(matches!(end, Err(AcquireError::TimedOut { .. })), "{end:?}");
    let requests = store.requests() - before;
    // One each 8.5 to 11.5 s, and a few to queue, to begin and to leave: news cost none.
    assert!((313..=432).contains(&requests), "{requests} requests in an hour");
    said.push(HOUR);
    let longest = said.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= Duration::from_secs(15), "silent for {longest:?}");
}

/// A waiter on a clock of its own, and how long it has waited in the end.
async fn waits(store: &Arc<Moody>, mut news: impl FnMut(Duration) + Send) -> (AcquireError, Duration) {
    let clock = Arc::new(Rush(Mutex::new(Moment(Duration::ZERO))));
    let client = Client::with_clock(store.clone(), clock.clone(), None);
    let news = |_| news(clock.now().0);
    let end = client.acquire(&name(), request(), AcquireOptions::waiting(HOUR), news).await;
    (end.unwrap_err(), clock.now().0)
}

fn is_around(took: Duration, seconds: u64) {
    let least = Duration::from_secs(seconds);
    assert!(least <= took && took <= least + Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_refusal_is_endured_for_a_minute_in_the_queue() {
    let (store, _) = Moody::client();
    crowd(&store, 0).await;
    let (end, took) = waits(&store, |_| store.set(Mood::Refusing)).await;
    assert!(matches!(end, AcquireError::Store { error: StoreError::Refused(_), .. }), "{end:?}");
    is_around(took, 60);
}

#[tokio::test]
async fn a_store_that_was_never_reached_is_asked_for_twenty_seconds() {
    let (store, _) = Moody::client();
    store.set(Mood::Away);
    let (end, took) = waits(&store, |_| {}).await;
    assert!(matches!(end, AcquireError::Store { error: StoreError::Unavailable(_), .. }), "{end:?}");
    is_around(took, 20);
}

#[tokio::test]
async fn a_damaged_document_ends_a_wait_at_once() {
    let (store, client) = Moody::client();
    crowd(&store, 0).await;
    let (waiting, clock) = (store.clone(), Arc::new(Rush(Mutex::new(Moment(Duration::ZERO)))));
    let news = |progress| {
        if let Progress::Waiting(_) = progress {
            waiting.put_document(name(), Map::from([("Owner".into(), Value::S("python".into()))]));
        }
    };
    drop(client);
    let client = Client::with_clock(store, clock.clone(), None);
    let end = client.acquire(&name(), request(), AcquireOptions::waiting(HOUR), news).await;
    assert!(matches!(end, Err(AcquireError::Store { error: StoreError::Document { .. }, .. })), "{end:?}");
    assert!(clock.now().0 < Duration::from_secs(5), "{:?}", clock.now());
}

#[tokio::test]
async fn who_was_throttled_looks_less_often_for_a_while() {
    let (store, _) = Moody::client();
    crowd(&store, 0).await;
    let (mut since, mut before, mut after) = (None, 0, 0);
    let (_, _) = waits(&store, |now| match since {
        None if now >= Duration::from_secs(60) => {
            store.throttle(6);
            since = Some(now);
        }
        Some(throttled) if now < throttled + Duration::from_secs(30) => before = store.requests(),
        Some(throttled) if now < throttled + Duration::from_secs(150) => after = store.requests(),
        _ => {}
    })
    .await;
    // Two minutes: a head looks every two seconds otherwise.
    assert!(after > before && after - before < 20, "{} looks", after - before);
}

#[tokio::test]
async fn who_drops_a_hold_or_lets_it_go_renews_it_no_more() {
    for lets_go in [false, true] {
        let (store, _) = Moody::client();
        let clock = Arc::new(Rush(Mutex::new(Moment(Duration::ZERO))));
        let client = Client::with_clock(store.clone(), clock, None);
        let hold = client.acquire(&name(), request(), AcquireOptions::waiting(HOUR), |_| {}).await.unwrap();
        crate::in_time("renewals", async {
            while store.requests() < 5 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if lets_go {
            drop(hold.let_go())
        } else {
            drop(hold)
        }
        let before = store.requests();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.requests(), before, "nobody holds it any more");
    }
}

#[tokio::test]
async fn the_time_to_wait_for_several_locks_counts_for_all_of_them() {
    let (store, _) = Moody::client();
    let clock = Arc::new(Rush(Mutex::new(Moment(Duration::ZERO))));
    let client = Client::with_clock(store.clone(), clock, None);
    let lock = |name: &str| LockName::new(name).unwrap();
    let forever = Request { term: Term::Static { until: None }, ..request() };
    for name in ["a", "b"] {
        client.acquire(&lock(name), forever.clone(), AcquireOptions::default(), |_| {}).await.unwrap();
    }
    let releasing = client.clone();
    tokio::spawn(async move {
        while releasing.look(&lock("a")).await.unwrap().is_none_or(|state| state.queue.is_empty()) {
            tokio::task::yield_now().await;
        }
        releasing.withdraw(&lock("a"), forever.token).await.unwrap();
    });
    // Nothing is renewed meanwhile, which would take its time.
    let asked = Request { term: Term::Static { until: None }, ..request() };
    let wish = |name: &&str| {
        let options = AcquireOptions::waiting(HOUR);
        Wish { name: lock(name), request: asked.clone(), options }
    };
    let got = client.acquire_all(["a", "b"].iter().map(wish).collect(), |_| {}).await;
    let Some(AcquireError::TimedOut { name, waited, .. }) = got.failure else { panic!("{got:?}") };
    assert!(name == lock("b") && waited < HOUR, "{waited:?} for lock {name} alone");
}
