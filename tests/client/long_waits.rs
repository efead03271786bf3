//! A long wait, on a clock that passes as fast as it is asked to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Clock, Progress},
    lock::{EpochMs, LockState, Moment, Request, Term},
    store::{Expected, Store, Swap},
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
