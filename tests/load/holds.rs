//! A thousand locks that one process holds.

use std::time::{Duration, Instant};

use pipeline_lock::{
    client::{AcquireOptions, Client, Hold, HoldStatus},
    lock::LockName,
};
use tokio::task::JoinSet;

use crate::{
    LEASE, alone,
    meter::{Bill, Metered},
    print,
    process::{Usage, descriptors},
    request,
    stores::{File, table},
};

/// How many locks.
const LOCKS: u64 = 1_000;

/// So many are acquired at once.
const AT_ONCE: usize = 16;

/// Descriptors that a thousand holds need: timers, which they share, connections, and files that are open for a moment.
const DESCRIPTORS: usize = 200;

/// A lease is renewed four times in its length.
const RENEWED_EVERY: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_thousand_locks_in_a_table_are_renewed_four_times_in_a_lease() {
    let _alone = alone().await;
    let meter = Metered::over(table().await, Duration::ZERO);
    let client = Client::new(meter.clone(), None);
    let before = Usage::now();
    let holds = all_held(&client).await;
    let bill = meter.bill();
    assert_eq!((bill.swaps, bill.reads), (LOCKS, 0), "one write for each free lock");
    let (began, most) = (Instant::now(), watched_for_a_round(&holds).await);
    let (renewals, took) = (meter.bill() - bill, began.elapsed());
    // Not asserted: each request under way has a connection, and a slow table has many under way.
    tell("a table", &renewals, took, before, most);
    assert!(
        (renewals.write_units - renewals.renewals as f64).abs() < 0.5,
        "an item of one holder is one unit"
    );
    // Of each as many as there are whole intervals, and one more for those at the edges.
    let rounds = took.as_secs() / RENEWED_EVERY.as_secs() + 1;
    assert!(renewals.renewals <= LOCKS * rounds, "{renewals:?} in {took:?}");
    assert_eq!(renewals.requests(), renewals.renewals, "and nothing else is asked");
    all_released(holds).await;
}

#[tokio::test]
async fn a_thousand_locks_in_a_file_need_nothing_to_be_written() {
    let _alone = alone().await;
    let file = File::new();
    let before = Usage::now();
    let holds = all_held(&file.client).await;
    let bill = file.meter.bill();
    assert_eq!((bill.swaps, bill.reads), (LOCKS, 0), "one write for each free lock");
    let most = descriptors();
    print(&format!(
        "{LOCKS} locks in a file: {} descriptors more, {:?}",
        most - before.descriptors,
        Usage::now()
    ));
    assert!(most - before.descriptors <= DESCRIPTORS, "{} more", most - before.descriptors);
    all_released(holds).await;
}

/// Acquires all locks.
async fn all_held(client: &Client) -> Vec<Hold> {
    let (mut under_way, mut holds, began) = (JoinSet::new(), Vec::new(), Instant::now());
    for number in 0..LOCKS {
        let client = client.clone();
        under_way.spawn(async move {
            let name = LockName::new(format!("load/holds-{number:04}")).unwrap();
            let options = AcquireOptions::waiting(Duration::from_secs(60));
            client.acquire(&name, request(number), options, |_| {}).await.unwrap()
        });
        if under_way.len() >= AT_ONCE {
            holds.push(under_way.join_next().await.unwrap().unwrap());
        }
    }
    holds.extend(under_way.join_all().await);
    print(&format!("{LOCKS} locks acquired in {:.1} s", began.elapsed().as_secs_f64()));
    holds
}

/// Waits until each was renewed. The result is the most descriptors that were open.
async fn watched_for_a_round(holds: &[Hold]) -> usize {
    let due: Vec<_> = holds.iter().map(Hold::deadline).collect();
    let (mut most, began) = (0, Instant::now());
    while holds.iter().zip(&due).any(|(hold, due)| hold.deadline() == *due) {
        most = most.max(descriptors());
        assert!(began.elapsed() < LEASE, "some are not renewed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(holds.iter().all(|hold| matches!(hold.status(), HoldStatus::Held { .. })));
    most
}

fn tell(place: &str, renewals: &Bill, took: Duration, before: Usage, most: usize) {
    let (seconds, now) = (took.as_secs_f64(), Usage::now());
    print(&format!(
        "{LOCKS} locks in {place}: {:.1} renewals and {:.1} write units a second ({:.1} expected); at most {} \
         descriptors more; memory {} KiB more",
        renewals.renewals as f64 / seconds,
        renewals.write_units / seconds,
        LOCKS as f64 / RENEWED_EVERY.as_secs_f64(),
        most - before.descriptors,
        now.resident - before.resident,
    ));
}

async fn all_released(holds: Vec<Hold>) {
    let mut under_way = JoinSet::new();
    for hold in holds {
        under_way.spawn(hold.release());
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    while let Some(released) = under_way.join_next().await {
        released.unwrap().unwrap();
    }
}
