//! Ending what others hold, keeping them out, and what is seen of them.

use std::{sync::Arc, time::Duration};

use pipeline_lock::{
    Client,
    client::{Reservation, Unlocking},
    lock::{EpochMs, LockState, Owner, Request, Term, Token, Value, Who},
    store::{Consistency, MemoryStore, Store},
};
use uuid::Uuid;

use crate::{
    SOON, in_time,
    moody::{Mood, Moody},
    name, request, wait,
};

fn static_until(until: Option<EpochMs>) -> Request {
    Request { term: Term::Static { until }, ..request() }
}

fn reservation(user: &str) -> Reservation {
    let who = Who { user: user.into(), ..Who::default() };
    Reservation { token: Token::new(Uuid::new_v4()), who, reason: "maintenance".into(), lasting: None }
}

async fn state(client: &Client) -> LockState {
    client.look(&name()).await.unwrap().unwrap()
}

#[tokio::test]
async fn nobody_is_unlocked_in_a_document_of_a_newer_program() {
    let store = Arc::new(MemoryStore::new());
    let client = Client::new(store.clone(), None);
    let held = client.acquire(&name(), static_until(None), wait(), |_| {}).await.unwrap();
    let mut newer = store.document(&name()).unwrap();
    newer.insert("Format".into(), Value::number(2));
    store.put_document(name(), newer.clone());
    let (lock, tokens) = (name(), [held.token()]);
    let unlocking = client.unlock(&lock, &tokens, "ada", SOON, |news| panic!("{news:?}"));
    assert_eq!(in_time("unlocking", unlocking).await.unwrap().left.len(), 1);
    assert_eq!(store.document(&name()).unwrap(), newer);
}

#[tokio::test]
async fn who_unlocks_endures_a_store_that_is_away_for_a_moment() {
    let (store, client) = Moody::client();
    let held = client.acquire(&name(), static_until(None), wait(), |_| {}).await.unwrap();
    store.set(Mood::Away);
    let (before, unlocking, token) = (store.requests(), client.clone(), held.token());
    let unlocking = tokio::spawn(async move {
        let mut removed = 0;
        let news = |news: &Unlocking| removed += usize::from(matches!(news, Unlocking::Removed { .. }));
        unlocking.unlock(&name(), &[token], "ada", SOON, news).await.map(|_| removed)
    });
    in_time("the first try", async {
        while store.requests() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    store.set(Mood::Well);
    assert_eq!(in_time("unlocking", unlocking).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_reservation_is_a_write_like_any_other_and_ends_by_its_own_token() {
    let (_, client) = Moody::client();
    let held = client.acquire(&name(), request(), wait(), |_| {}).await.unwrap();
    let before = state(&client).await;
    let own = reservation("ada");
    let reserved = client.reserve(&name(), &own).await.unwrap().state;
    assert_eq!((reserved.rev, reserved.fence), (before.rev.next(), before.fence.next()));
    let another = client.end_reservation(&name(), Some(reservation("bob").token)).await.unwrap();
    assert_eq!(another, None, "that is another one's");
    assert!(state(&client).await.reservation().is_some());
    assert!(client.end_reservation(&name(), Some(own.token)).await.unwrap().is_some());
    assert!(state(&client).await.reservation().is_none());
    held.release().await.unwrap();
}

#[tokio::test]
async fn who_releases_on_behalf_of_an_owner_releases_holds_and_places_of_that_one_alone() {
    let (_, client) = Moody::client();
    let owned = |owner: &str| Request { owner: Owner::stored(owner), limit: request().limit, ..request() };
    let two = |owner: &str| Request { limit: pipeline_lock::lock::Limit(2), ..owned(owner) };
    let first = client.acquire(&name(), two("ada"), wait(), |_| {}).await.unwrap();
    let second = client.acquire(&name(), two("bob"), wait(), |_| {}).await.unwrap();
    let waiting: Vec<_> = ["ada", "bob"]
        .map(|owner| {
            let (client, request) = (client.clone(), two(owner));
            tokio::spawn(async move { client.acquire(&name(), request, wait(), |_| {}).await })
        })
        .into_iter()
        .collect();
    in_time("both waits", async {
        while state(&client).await.queue.len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    let ada = Owner::stored("ada");
    let removed = client.release_owned(&name(), &ada, |_| true, |_| true).await.unwrap();
    assert_eq!(removed.iter().map(|h| h.token).collect::<Vec<_>>(), [first.token()]);
    let left = state(&client).await;
    assert!(left.holders.iter().all(|h| h.owner != ada) && left.holder(second.token()).is_some());
    assert!(left.queue.iter().all(|w| w.owner != ada) && left.queue.len() == 1, "{left:?}");
}

#[tokio::test]
async fn what_is_held_past_its_time_is_found_by_nobody_and_still_stands_in_the_document() {
    let (store, client) = Moody::client();
    let long_ago = EpochMs(store.now().0 - 60_000);
    let (request, mut given) = (static_until(Some(long_ago)), LockState::new(EpochMs(1)));
    given.request(&request, false);
    let free = pipeline_lock::store::Expected::Free { seed: EpochMs(1) };
    store.swap(&name(), free, &given).await.unwrap();
    assert_eq!(state(&client).await.holders.len(), 1);
    assert_eq!(client.find(&name(), Consistency::Strong).await.unwrap().unwrap().holders, []);
    let all = client.find_all(Consistency::Strong).await.unwrap();
    assert!(all.iter().all(|(_, state)| state.holders.is_empty()), "{all:?}");
}

#[tokio::test]
async fn a_request_may_have_left_something_until_it_is_given_back() {
    let (_, client) = Moody::client();
    let request = request();
    let token = request.token;
    assert!(!client.may_have_left(&name(), token));
    let hold = client.acquire(&name(), request, wait(), |_| {}).await.unwrap();
    assert!(client.may_have_left(&name(), token));
    hold.release().await.unwrap();
    assert!(!client.may_have_left(&name(), token));
}

#[tokio::test]
async fn a_hold_that_was_removed_or_taken_over_says_so_and_is_no_ending_of_its_own() {
    use pipeline_lock::client::{AcquireOptions, Loss};
    for is_taken_over in [false, true] {
        let (_, client) = Moody::client();
        let often = AcquireOptions { heartbeat: Some(Duration::from_millis(20)), ..wait() };
        let own = Request { owner: Owner::job("gitlab.example", 7), ..request() };
        let again = Request { token: Token::new(Uuid::new_v4()), ..own.clone() };
        let token = own.token;
        let hold = client.acquire(&name(), own, often, |_| {}).await.unwrap();
        let change = |state: &mut LockState| {
            let is_there = state.release(token);
            if is_there && is_taken_over {
                state.request(&again, true);
            }
            is_there
        };
        client.change(&name(), None, change).await.unwrap();
        let loss = in_time("the loss", hold.lost(Duration::ZERO)).await;
        assert_eq!(loss, if is_taken_over { Loss::Superseded } else { Loss::Gone });
        assert_eq!(hold.ending(true), None, "whoever removed it has recorded that");
    }
}
