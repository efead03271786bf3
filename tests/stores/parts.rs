//! What the cases are made of: names, requests, documents, and swaps that must take effect.

use std::time::Duration;

use pipeline_lock::{
    lock::{
        Beat, EpochMs, Holder, Limit, LockName, LockState, Map, Mode, Owner, Request, Term, Token, Value, Who,
    },
    store::{Consistency, Expected, Liveness, Store, Swap},
};

/// The wall clock of the first write.
/// Far ahead: DynamoDB Local deletes what has expired, also in the middle of a test.
pub const SEED: EpochMs = EpochMs(4_000_000_000_000);

pub fn name(text: &str) -> LockName {
    LockName::new(text).unwrap()
}

pub fn token(n: u64) -> Token {
    Token::new(uuid::Uuid::from_u128(n.into()))
}

/// A request for a live hold, by a CI job of its own; how it lives is up to the store.
pub fn request(store: &dyn Store, n: u64) -> Request {
    let lease = match store.liveness() {
        Liveness::Lease => Some(Duration::from_secs(60)),
        Liveness::KernelLock => None,
    };
    Request {
        owner: Owner::job("gitlab.example", n),
        token: token(n),
        replaces: None,
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        order: pipeline_lock::lock::Order::First,
        line: None,
        max_queue: None,
        term: Term::Live { beat: Beat(0), lease },
        who: Who {
            project: "group/project".into(),
            job: "deploy".into(),
            job_id: n,
            pipeline: n + 1000,
            user: "someone".into(),
            url: format!("https://gitlab.example/group/project/-/jobs/{n}"),
            host: "runner-1".into(),
        },
        since: SEED,
        force_after: None,
    }
}

/// What a first write writes for `request`.
pub fn first(request: &Request) -> LockState {
    let mut new = LockState::new(SEED);
    new.holders.push(Holder::granted(request, None));
    new
}

pub const FREE: Expected<'static> = Expected::Free { seed: SEED };

/// Takes an absent or free lock for the `n`th request.
pub async fn take(store: &dyn Store, name: &LockName, n: u64) -> LockState {
    swapped(store.swap(name, FREE, &first(&request(store, n))).await.unwrap())
}

/// Changes a lock that nobody else changes.
pub async fn change(
    store: &dyn Store,
    name: &LockName,
    old: &LockState,
    change: impl FnOnce(&mut LockState),
) -> LockState {
    let new = changed(old, change);
    swapped(store.swap(name, Expected::This(old), &new).await.unwrap())
}

/// The document after a change, sealed.
pub fn changed(old: &LockState, change: impl FnOnce(&mut LockState)) -> LockState {
    let mut new = old.clone();
    change(&mut new);
    new.seal(SEED);
    new
}

pub fn swapped(swap: Swap) -> LockState {
    match swap {
        Swap::Swapped(state) => state,
        Swap::Conflict(found) => panic!("a conflict: {found:?}"),
    }
}

pub async fn read(store: &dyn Store, name: &LockName) -> Option<LockState> {
    store.read(name, Consistency::Strong).await.unwrap()
}

/// The entry of `token` in a list of a stored document.
pub fn entry<'a>(document: &'a mut Map, list: &str, token: Token) -> Option<&'a mut Map> {
    let Some(Value::L(entries)) = document.get_mut(list) else { panic!("no list {list}") };
    entries.iter_mut().find_map(|entry| match entry {
        Value::M(map) => (map.get("Token") == Some(&Value::S(token.to_string()))).then_some(map),
        _ => None,
    })
}

pub fn text(text: &str) -> Value {
    Value::S(text.into())
}

/// The beat of a live hold.
pub fn beat(state: &LockState, token: Token) -> Beat {
    match state.holder(token).expect("the holder").term {
        Term::Live { beat, .. } => beat,
        Term::Static { .. } => panic!("the hold is static"),
    }
}
