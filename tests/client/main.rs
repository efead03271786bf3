//! The client over a store that misbehaves, on the real clock.

mod ages;
mod guards;
mod history;
mod left_behind;
mod long_waits;
mod moody;
mod others;
mod several;

use std::time::Duration;

use pipeline_lock::{
    Client,
    client::{AcquireError, AcquireOptions, Parting, Progress},
    lock::{Beat, LockName, Owner, Request, Term, Token},
    store::StoreError,
};
use uuid::Uuid;

use moody::{Mood, Moody};

/// Everything here is over long before.
const SOON: Duration = Duration::from_secs(20);

fn wait() -> AcquireOptions {
    AcquireOptions::waiting(SOON)
}

fn name() -> LockName {
    LockName::new("shop/production").unwrap()
}

fn request() -> Request {
    let token = Token::new(Uuid::new_v4());
    request_of(Owner::alone(token), token)
}

fn request_of(owner: Owner, token: Token) -> Request {
    Request::new(owner, token, Term::Live { beat: Beat(0), lease: Some(Duration::from_secs(30)) })
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn is_held(client: &Client) -> bool {
    client.look(&name()).await.unwrap().is_some_and(|state| !state.holders.is_empty())
}

#[tokio::test]
async fn a_write_that_arrives_after_its_request_was_given_up_is_taken_back() {
    let (store, client) = Moody::client();
    let request = request();
    let token = request.token;
    store.set(Mood::HangingWrites);
    let name = name();
    let mut acquiring = Box::pin(client.acquire(&name, request, wait(), |_| {}));
    tokio::select! {
        _ = &mut acquiring => panic!("the write is not answered"),
        () = store.has_written() => {}
    }
    drop(acquiring);
    store.set(Mood::Well);
    in_time("withdrawing", client.withdraw(&name, token)).await.unwrap();
    assert!(client.is_unsettled(&name, token));
    store.deliver_late().await;
    assert!(is_held(&client).await, "the write took effect, for nobody");
    in_time("taking it back", client.take_back_late(&name, token, Duration::from_secs(1))).await;
    assert!(!is_held(&client).await);
    assert!(!client.is_unsettled(&name, token), "it is looked for once");
}

#[tokio::test]
async fn where_each_write_was_answered_nothing_is_looked_for() {
    let (store, client) = Moody::client();
    let request = request();
    let token = request.token;
    let hold = in_time("acquiring", client.acquire(&name(), request, wait(), |_| {})).await.unwrap();
    hold.release().await.unwrap();
    let before = store.requests();
    client.take_back_late(&name(), token, Duration::from_secs(600)).await;
    assert_eq!(store.requests(), before);
}

#[tokio::test]
async fn a_waiter_whose_store_refuses_it_for_a_moment_keeps_waiting() {
    let (store, client) = Moody::client();
    let holder = in_time("acquiring", client.acquire(&name(), request(), wait(), |_| {})).await.unwrap();
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let waiting = client.clone();
    let waiter = tokio::spawn(async move {
        waiting.acquire(&name(), request(), wait(), |progress| drop(told.send(progress))).await
    });
    let mut hears = async |what: &str, is_it: fn(&Progress) -> bool| {
        in_time(what, async { while !is_it(&news.recv().await.expect("the waiter waits")) {} }).await;
    };
    hears("queueing", |news| matches!(news, Progress::Waiting(_))).await;
    store.set(Mood::Refusing);
    hears("the trouble", |news| matches!(news, Progress::Trouble { .. })).await;
    store.set(Mood::Well);
    hears("the recovery", |news| matches!(news, Progress::Recovered { .. })).await;
    holder.release().await.unwrap();
    in_time("the grant", waiter).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_refused_before_it_waits_hears_so_at_once() {
    let (store, client) = Moody::client();
    store.set(Mood::Refusing);
    let refused = in_time("the refusal", client.acquire(&name(), request(), wait(), |_| {})).await;
    assert!(matches!(refused, Err(AcquireError::Store { error: StoreError::Refused(_), .. })), "{refused:?}");
    assert_eq!(store.requests(), 1);
}

#[tokio::test]
async fn a_release_goes_on_until_the_store_takes_it() {
    let (store, client) = Moody::client();
    let hold = in_time("acquiring", client.acquire(&name(), request(), wait(), |_| {})).await.unwrap();
    store.set(Mood::Refusing);
    let (name_, token, known) = hold.let_go();
    let until = client.clock().now().plus(SOON);
    let (told, mut troubles) = tokio::sync::mpsc::unbounded_channel();
    let releasing = client.clone();
    let release = tokio::spawn(async move {
        let trouble = |error: &StoreError| drop(told.send(error.to_string()));
        releasing.withdraw_until(&name_, token, Some(known), Parting::Alone, until, trouble).await
    });
    assert!(in_time("the trouble", troubles.recv()).await.unwrap().contains("no permission"));
    store.set(Mood::Well);
    in_time("the release", release).await.unwrap().unwrap();
    assert!(!is_held(&client).await);
}
