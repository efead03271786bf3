//! How many fit into one lock, and what becomes of those who don't.

use std::{sync::Arc, time::Duration};

use pipeline_lock::{
    client::{AcquireError, AcquireOptions, Client},
    lock::{
        EpochMs, Full, Limit, LockName, LockState, MAX_HOLDERS, Mode, Outcome, Request, Token, Who, codec,
    },
    store::{Expected, MemoryStore, Store, Swap},
};

use crate::{alone, meter::item_size, print, request, stores::table};

/// What DynamoDB takes for an item at most, in bytes.
const ITEM: usize = 400 * 1024;

fn name() -> LockName {
    LockName::new(
        "gitlab.example.com/platform/services/payments/settlement-engine-frontend-europe/production",
    )
    .unwrap()
}

/// The longest that each part of a request can be.
fn longest(job: u64) -> Request {
    let who = Who {
        project: "x".repeat(1000),
        job: "ü".repeat(1000),
        job_id: u64::MAX,
        pipeline: u64::MAX,
        user: "x".repeat(1000),
        url: format!("https://{}", "x".repeat(2000)),
        host: "x".repeat(1000),
    };
    Request { who, ..request(job) }
}

/// As many holders as there may be, and a queue that takes nobody more. Also: who waits, in their order, and what the
/// one too many is told.
fn filled(make: impl Fn(u64) -> Request) -> (LockState, Outcome) {
    let mut state = LockState::new(EpochMs(4_000_000_000_000));
    for job in 0..MAX_HOLDERS as u64 {
        let shared = Request { mode: Mode::Shared, limit: Limit(MAX_HOLDERS as u32), ..make(job) };
        assert_eq!(state.request(&shared, true), Outcome::Granted);
    }
    for job in MAX_HOLDERS as u64.. {
        match state.request(&make(job), true) {
            Outcome::Queued => {}
            outcome => return (state, outcome),
        }
    }
    unreachable!("a queue is full at some time")
}

#[test]
fn a_thousand_waiters_with_real_names_fit_and_the_longest_names_are_cut() {
    let (real, outcome) = filled(request);
    assert_eq!(outcome, Outcome::QueueFull(Full::Bytes));
    let (long, _) = filled(longest);
    let size = |state: &LockState| item_size(&name(), &codec::encode(state));
    print(&format!(
        "{} waiters with real names fit behind {MAX_HOLDERS} holders ({} bytes of {ITEM}), {} with the longest \
         ({} bytes)",
        real.queue.len(),
        size(&real),
        long.queue.len(),
        size(&long),
    ));
    assert!(real.queue.len() >= 1_000, "{}", real.queue.len());
    assert!(size(&long) < ITEM && size(&real) < ITEM);
}

#[tokio::test]
async fn a_full_item_is_taken_by_the_table_and_all_who_are_in_it_go_on() {
    let _alone = alone().await;
    let store = table().await;
    let (state, _) = filled(longest);
    let made = store.swap(&name(), Expected::Free { seed: EpochMs(1) }, &state).await.unwrap();
    assert!(matches!(made, Swap::Swapped(_)), "the largest item is stored");
    let client = Client::new(store.clone(), None);
    let (holders, queue): (Vec<Token>, Vec<Token>) =
        (state.holders.iter().map(|h| h.token).collect(), state.queue.iter().map(|w| w.token).collect());
    let beat = pipeline_lock::lock::Beat(1);
    let renewed = store.renew(&name(), holders[0], beat).await.unwrap();
    assert!(matches!(renewed, pipeline_lock::store::Renewal::Renewed(_)), "a holder renews");
    refuses_one_more(&client).await;
    client.withdraw(&name(), queue[0]).await.unwrap();
    client.withdraw(&name(), holders[0]).await.unwrap();
    let now = client.look(&name()).await.unwrap().unwrap();
    assert_eq!((now.holders.len(), now.queue.len()), (holders.len() - 1, queue.len() - 1));
}

/// The one too many hears why, at once, and costs nobody anything.
async fn refuses_one_more(client: &Client) {
    let before = client.look(&name()).await.unwrap();
    let options = AcquireOptions::waiting(Duration::from_secs(60));
    let refused = client.acquire(&name(), longest(1_000_000), options, |_| {}).await.unwrap_err();
    print(&format!("the one too many is told: {refused}"));
    assert!(matches!(refused, AcquireError::QueueFull { full: Full::Bytes, .. }), "{refused:?}");
    assert_eq!(client.look(&name()).await.unwrap(), before);
}

#[tokio::test]
async fn a_place_that_comes_free_in_a_full_queue_is_taken_again() {
    let store = Arc::new(MemoryStore::new());
    let (state, _) = filled(request);
    store.swap(&name(), Expected::Free { seed: EpochMs(1) }, &state).await.unwrap();
    let client = Client::new(store, None);
    refuses_one_more(&client).await;
    client.withdraw(&name(), state.queue[7].token).await.unwrap();
    let late = request(1_000_001);
    let token = late.token;
    let (name, options) = (name(), AcquireOptions::waiting(Duration::from_secs(60)));
    let mut acquiring = Box::pin(client.acquire(&name, late, options, |_| {}));
    let queued = async {
        while client.look(&name).await.unwrap().is_none_or(|state| state.waiter(token).is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut acquiring => panic!("it has to wait"),
        () = queued => {}
    }
}
