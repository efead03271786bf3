//! Many at once, each by its own way to the store.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pipeline_lock::{
    lock::{
        Beat, EpochMs, Fence, LockName, LockState, Moment, Outcome, Plan, Request, Rev, Sight, Token, Watch,
        plan,
    },
    store::{Consistency, Expected, Renewal, Store, Swap},
};
use tokio::task::JoinSet;

use crate::{
    bench::Bench,
    parts::{FREE, SEED, beat, changed, first, name, read, request, take, token},
};

on_stores!(memory local dynamodb: { never_two_hold_and_who_comes_first_is_served_first });

/// On the stores whose holds live by their renewals.
mod renewing {
    use super::renewals_and_swaps_lose_nothing_to_each_other;

    on_stores!(memory dynamodb: { renewals_and_swaps_lose_nothing_to_each_other });
}

const TASKS: u64 = 6;
const ROUNDS: u64 = 5;

/// How long a waiter sleeps at most between two looks: the test is not to take as long as jobs do.
const LONGEST_LOOK: Duration = Duration::from_millis(5);

/// What happened, by the revisions that the store gave it.
#[derive(Default)]
struct Log {
    inside: AtomicBool,
    came: Mutex<Vec<(Rev, Token)>>,
    served: Mutex<Vec<(Rev, Token, Fence)>>,
}

impl Log {
    fn came(&self, state: &LockState, token: Token) {
        self.came.lock().unwrap().push((state.rev, token));
    }

    fn served(&self, state: &LockState, token: Token) {
        let fence = state.fence_of(state.holder(token).expect("the grant"));
        self.served.lock().unwrap().push((state.rev, token, fence));
    }
}

async fn never_two_hold_and_who_comes_first_is_served_first(bench: &Bench) {
    let log = Arc::new(Log::default());
    let mut tasks = JoinSet::new();
    for task in 1..=TASKS {
        let (store, log) = (bench.another().await, Arc::clone(&log));
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                hold_once(&*store, &request(&*store, task * 100 + round), &log).await;
            }
        });
    }
    tasks.join_all().await;

    let mut came = log.came.lock().unwrap().clone();
    let mut served = log.served.lock().unwrap().clone();
    came.sort();
    served.sort();
    assert_eq!(served.len() as u64, TASKS * ROUNDS);

    assert_eq!(
        served.iter().map(|(_, token, _)| *token).collect::<Vec<_>>(),
        came.iter().map(|(_, token)| *token).collect::<Vec<_>>(),
        "somebody was served before who came first"
    );
    assert!(served.is_sorted_by(|(_, _, a), (_, _, b)| a < b), "a fencing number came back: {served:?}");
    assert!(read(&*bench.store, &lock()).await.unwrap().is_free());
}

fn lock() -> LockName {
    name("gitlab.example/group/project/production")
}

async fn hold_once(store: &dyn Store, request: &Request, log: &Log) {
    let held = acquire(store, request, log).await;
    assert!(!log.inside.swap(true, Ordering::SeqCst), "two hold the lock");
    tokio::time::sleep(Duration::from_millis(1)).await;
    log.inside.store(false, Ordering::SeqCst);
    let mut current = held;
    loop {
        assert!(current.holder(request.token).is_some(), "a hold was lost: {current:?}");
        let next = changed(&current, |lock| assert!(lock.release(request.token)));
        match store.swap(&lock(), Expected::This(&current), &next).await.unwrap() {
            Swap::Swapped(_) => return,
            Swap::Conflict(found) => current = found.expect("the lock"),
        }
    }
}

async fn acquire(store: &dyn Store, request: &Request, log: &Log) -> LockState {
    let mut current = match store.swap(&lock(), FREE, &first(request)).await.unwrap() {
        Swap::Swapped(state) => {
            log.came(&state, request.token);
            log.served(&state, request.token);
            return state;
        }
        Swap::Conflict(found) => found.expect("the lock"),
    };
    let begun = Instant::now();
    let mut watch = Watch::default();
    let mut was_queued = false;
    loop {
        let now = Moment(begun.elapsed());
        watch.observe(&current, now);
        let sight = Sight { now, store_now: EpochMs(0), gone: &[], may_queue: true, was_queued };
        match plan(&current, request, &watch, sight, SEED) {
            Plan::Write { next, outcome, removed } => {
                assert_eq!(removed, [], "nobody is dead");
                match store.swap(&lock(), Expected::This(&current), &next).await.unwrap() {
                    Swap::Swapped(state) => {
                        if !was_queued {
                            log.came(&state, request.token);
                        }
                        if outcome == Outcome::Granted {
                            log.served(&state, request.token);
                            return state;
                        }
                        was_queued = true;
                        current = state;
                    }
                    Swap::Conflict(found) => current = found.expect("the lock"),
                }
            }
            Plan::Wait(time) => {
                tokio::time::sleep(time.min(LONGEST_LOOK)).await;
                current = store.read(&lock(), Consistency::Strong).await.unwrap().expect("the lock");
            }
            other => panic!("{other:?}"),
        }
    }
}

const RENEWALS: u64 = 40;
const OTHERS: u64 = 4;
const VISITS: u64 = 10;

/// A holder renews while others come into the queue and leave it: each write counts, none is written over.
async fn renewals_and_swaps_lose_nothing_to_each_other(bench: &Bench) {
    let held = take(&*bench.store, &lock(), 1).await;
    let mut tasks = JoinSet::new();
    for n in 0..OTHERS {
        let store = bench.another().await;
        tasks.spawn(async move {
            for visit in 0..VISITS {
                let request = request(&*store, 100 + n * VISITS + visit);
                write(&*store, |lock| assert_eq!(lock.request(&request, true), Outcome::Queued)).await;
                write(&*store, |lock| assert!(lock.release(request.token), "a place was lost")).await;
            }
        });
    }
    let store = bench.another().await;
    tasks.spawn(async move {
        for number in 1..=RENEWALS {
            match store.renew(&lock(), token(1), Beat(number)).await.unwrap() {
                Renewal::Renewed(state) => assert_eq!(beat(&state, token(1)), Beat(number)),
                gone => panic!("renewal {number}: {gone:?}"),
            }
        }
    });
    tasks.join_all().await;
    let state = read(&*bench.store, &lock()).await.unwrap();
    assert_eq!(state.queue, []);
    assert_eq!(beat(&state, token(1)), Beat(RENEWALS));
    assert_eq!(state.rev.0, held.rev.0 + RENEWALS + 2 * OTHERS * VISITS, "a write was written over");
}

/// Changes the lock, however often others come first.
async fn write(store: &dyn Store, change: impl Fn(&mut LockState)) {
    let mut current = read(store, &lock()).await.unwrap();
    loop {
        match store.swap(&lock(), Expected::This(&current), &changed(&current, &change)).await.unwrap() {
            Swap::Swapped(_) => return,
            Swap::Conflict(found) => current = found.expect("the lock"),
        }
    }
}
