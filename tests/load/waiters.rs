//! Many who wait for one lock. Those of a table are on many hosts, in virtual time: whoever sleeps wakes at once, and it
//! is later.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use pipeline_lock::{
    client::{AcquireOptions, Client, Clock, Hold},
    lock::{EpochMs, LockName, LockState, Moment, Request, Token},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    alone,
    meter::{Bill, Metered},
    plain::Plain,
    print,
    process::descriptors,
    request,
    stores::File,
};

/// How long a request is on its way, there and back.
const LATENCY: Duration = Duration::from_millis(8);

/// Longer than any of this takes.
const WAIT: Duration = Duration::from_secs(24 * 3600);

fn name() -> LockName {
    LockName::new(
        "gitlab.example.com/platform/services/payments/settlement-engine-frontend-europe/production",
    )
    .unwrap()
}

/// tokio's clock, which stands still while anybody works and leaps to the next who wakes.
struct Virtual(Instant);

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Moment {
        Moment(Duration::from_secs(3600) + self.0.elapsed())
    }

    // The store's, which is this host's: so that nobody finds the two apart.
    fn wall(&self) -> EpochMs {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        EpochMs(0).plus(wall)
    }

    async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.now())).await;
    }
}

/// A table, and clients on hosts of their own.
struct Table {
    meter: Arc<Metered>,
    clock: Arc<Virtual>,
}

impl Table {
    fn new() -> Self {
        let meter = Metered::over(Arc::new(Plain::default()), LATENCY);
        Self { meter, clock: Arc::new(Virtual(Instant::now())) }
    }

    fn client(&self) -> Client {
        Client::with_clock(self.meter.clone(), self.clock.clone(), None)
    }
}

/// Jobs that wait for the lock, each for a moment's work.
struct Crowd {
    jobs: JoinSet<()>,
    /// Who had the lock, one after the other.
    served: Arc<Mutex<Vec<Token>>>,
}

impl Crowd {
    /// They come all at once.
    fn comes(client: impl Fn() -> Client, requests: Vec<Request>) -> Self {
        let (mut jobs, served) = (JoinSet::new(), Arc::<Mutex<Vec<Token>>>::default());
        for request in requests {
            let (client, served, token) = (client(), served.clone(), request.token);
            jobs.spawn(async move {
                let options = AcquireOptions::waiting(WAIT);
                let hold = client.acquire(&name(), request, options, |_| {}).await.unwrap();
                served.lock().unwrap().push(token);
                hold.release().await.unwrap();
            });
        }
        Self { jobs, served }
    }

    /// All are served. Nobody went before another.
    async fn drains(mut self, came: &[Token]) {
        while let Some(job) = self.jobs.join_next().await {
            job.unwrap();
        }
        assert_eq!(*self.served.lock().unwrap(), came, "first come, first served");
    }
}

async fn holder(client: &Client) -> Hold {
    client.acquire(&name(), request(0), AcquireOptions::waiting(WAIT), |_| {}).await.unwrap()
}

fn requests(count: u64) -> Vec<Request> {
    (1..=count).map(request).collect()
}

/// Gives all of them their places by one write.
async fn queue_up(client: &Client, requests: &[Request]) -> Vec<Token> {
    let queue_all = |state: &mut LockState| {
        for request in requests {
            state.request(request, true);
        }
        true
    };
    in_order(&client.change(&name(), None, queue_all).await.unwrap().unwrap())
}

fn in_order(state: &LockState) -> Vec<Token> {
    state.in_order().iter().map(|waiter| waiter.token).collect()
}

/// Who waits, in the order of their places, as soon as so many do.
async fn queue_of(client: &Client, count: u64) -> Vec<Token> {
    loop {
        let state = client.look(&name()).await.unwrap().unwrap();
        if state.queue.len() as u64 == count {
            return in_order(&state);
        }
        client.clock().sleep_until(client.clock().now().plus(Duration::from_millis(200))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_at_once_get_into_the_queue_by_a_few_writes_each() {
    const WAITERS: u64 = 120;
    /// If each that loses tried again at once it would be half as many as there are waiters.
    const WRITES: u64 = 25;
    let _alone = alone().await;
    let table = Table::new();
    let (looker, began) = (table.client(), Instant::now());
    let held = holder(&looker).await;
    let crowd = Crowd::comes(|| table.client(), requests(WAITERS));
    let came = queue_of(&looker, WAITERS).await;
    let bill = table.meter.bill();
    print(&format!(
        "{WAITERS} who come at once are in the queue after {:.1} s, by {:.1} writes and {:.1} reads each; {:.0} write \
         units each",
        began.elapsed().as_secs_f64(),
        each(bill.swaps as f64, WAITERS),
        each(bill.reads as f64, WAITERS),
        each(bill.write_units, WAITERS),
    ));
    assert!(bill.swaps <= WAITERS * WRITES, "{bill:?}");
    held.release().await.unwrap();
    crowd.drains(&came).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_of_a_table_ask_a_hundred_times_a_second() {
    const WAITERS: u64 = 1_000;
    const SPAN: Duration = Duration::from_secs(10);
    let _alone = alone().await;
    let table = Table::new();
    let looker = table.client();
    let _held = holder(&looker).await;
    let requests = requests(WAITERS);
    queue_up(&looker, &requests).await;
    let crowd = Crowd::comes(|| table.client(), requests);
    // Each finds its place first, and waits for a while by the age of the hold.
    tokio::time::sleep(SPAN).await;
    let before = table.meter.bill();
    tokio::time::sleep(SPAN).await;
    let bill = table.meter.bill() - before;
    let second = |of: f64| of / SPAN.as_secs_f64();
    print(&format!(
        "{WAITERS} waiters of a table: an item of {} bytes; {:.1} reads and {:.0} read units a second",
        bill.largest,
        second(bill.reads as f64),
        second(bill.read_units),
    ));
    // Each once in ten seconds, give or take the jitter; the first sixty more often.
    assert!((WAITERS * 4 / 5..WAITERS * 3 / 2).contains(&bill.reads), "{bill:?}");
    assert_eq!(bill.swaps, 0, "who waits writes nothing");
    assert_eq!(crowd.served.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_waiters_of_a_table_are_served_in_their_order() {
    const WAITERS: u64 = 250;
    let _alone = alone().await;
    let table = Table::new();
    let looker = table.client();
    let held = holder(&looker).await;
    let requests = requests(WAITERS);
    let came = queue_up(&looker, &requests).await;
    let crowd = Crowd::comes(|| table.client(), requests);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, began) = (table.meter.bill(), Instant::now());
    held.release().await.unwrap();
    crowd.drains(&came).await;
    tell("a table", WAITERS, table.meter.bill() - before, began.elapsed());
}

#[tokio::test]
async fn the_waiters_of_one_host_are_served_in_their_order() {
    const WAITERS: u64 = 100;
    let _alone = alone().await;
    let file = File::new();
    let held = holder(&file.client).await;
    let before = descriptors();
    let crowd = Crowd::comes(|| file.client.clone(), requests(WAITERS));
    let came = queue_of(&file.client, WAITERS).await;
    print(&format!("{WAITERS} waiters in one process: {} descriptors more", descriptors() - before));
    let (before, began) = (file.meter.bill(), std::time::Instant::now());
    held.release().await.unwrap();
    crowd.drains(&came).await;
    tell("one host", WAITERS, file.meter.bill() - before, began.elapsed());
}

fn tell(place: &str, waiters: u64, bill: Bill, took: Duration) {
    print(&format!(
        "{waiters} waiters of {place} had the lock one after the other, for nothing, in {:.1} s: a handover takes \
         {:.0} ms, {:.1} reads, {:.1} writes ({:.1} conflicts), {:.1} read units, {:.1} write units",
        took.as_secs_f64(),
        each(took.as_secs_f64() * 1000.0, waiters),
        each(bill.reads as f64, waiters),
        each(bill.swaps as f64, waiters),
        each(bill.conflicts as f64, waiters),
        each(bill.read_units, waiters),
        each(bill.write_units, waiters),
    ));
}

fn each(of: f64, count: u64) -> f64 {
    of / count as f64
}
