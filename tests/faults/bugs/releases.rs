//! Releases, and what they leave of others.

use std::time::{Duration, Instant};

use super::place::{LEASE, Place, text, until_so};
use crate::{
    bed::Bed,
    harness::{Fault, Kind, Stage, within},
};

/// V6636: who has lost its lock deletes it, and with it the lock of the next holder. Here a release removes its own
/// Token and nothing else.
#[tokio::test]
async fn bug_03_an_ex_holder_deletes_its_successors_lock() {
    let place = Place::new().await;
    let former = place.held().await;
    place.proxy.silence();
    let since = Instant::now();
    let next = place.lock().acquire(&place.direct).await.unwrap();
    assert!(since.elapsed() > LEASE);
    assert!(next.fence() > former.fence());
    place.proxy.mend();
    let before = place.look().await.unwrap();
    // It is past its deadline, and there may be an error of the connection that the silence has killed.
    let _ = former.release().await;
    let after = place.look().await.unwrap();
    assert_eq!(after.holders.len(), 1);
    assert_eq!(after.holders[0].token, before.holders[0].token);
    assert!(place.is_taken().await);
    next.release().await.unwrap();
}

/// LC116: giving back several, the first one that fails leaves the rest held. Here each is given back for itself, and
/// the failed one is tried again.
#[test]
fn bug_07_the_first_release_that_fails_leaves_the_others_held() {
    let bed = Bed::new();
    let names = ["a", "b", "c"].map(|last| format!("{}/{last}", bed.lock));
    let mut args = vec!["exec"];
    names.iter().for_each(|name| args.extend(["--name", name]));
    let fifo = bed.host.path().join("finish");
    let script = crate::party::script(&bed, &bed.host.path().join("works"), &fifo);
    args.extend(["--", "sh", "-c", &script]);
    let exec = Stage::start(bed.command(&args), true);
    within(Duration::from_secs(10), "it works", || bed.host.path().join("works").exists());
    bed.proxy.once(&[Kind::Holders], Fault::half_open());
    crate::party::let_end(&fifo);
    let held = || names.iter().filter(|name| !bed.look_at(name).unwrap().holders.is_empty()).count();
    within(Duration::from_secs(2), "the others are free", || held() == 1);
    assert_eq!(bed.proxy.hits(), 1);
    within(Duration::from_secs(6), "it is tried again", || held() == 0);
    exec.end().with_code(0);
}

/// LC115: a copy that is for reading only can delete a live lock. Here what shows a lock has nothing that writes.
#[test]
fn bug_12_who_looks_at_a_lock_can_end_it() {
    let bed = Bed::new();
    let run = |args: &[&str]| Stage::start(bed.command(args), true).end().with_code(0);
    run(&["acquire", "--name", &bed.lock]);
    let (before, writes) = (bed.look(), bed.proxy.count(Kind::FirstWrite));
    for args in [
        &["status", &bed.lock][..],
        &["list"],
        &["history", &bed.lock],
        &["explain", "--project", "shop/web"],
    ] {
        run(args);
    }
    assert_eq!(bed.look(), before);
    let reads = [Kind::Read, Kind::Scan, Kind::History];
    let others = bed.proxy.seen().into_iter().filter(|seen| !reads.contains(&seen.kind)).count();
    assert_eq!(others, writes, "{:?}", bed.proxy.seen());
    run(&["release", "--name", &bed.lock]);
}

/// DL8, LC23: a put of the whole item loses what others have written meanwhile. Here each write names what it changes.
#[tokio::test]
async fn bug_16_a_put_of_the_whole_item_loses_what_others_wrote() {
    let place = Place::new().await;
    let first = place.held().await;
    place.set("Note", text("kept")).await;
    place.until_renewed(1).await;
    let waiting = tokio::spawn({
        let (lock, client) = (place.lock(), place.through.clone());
        async move { lock.acquire(&client).await }
    });
    until_so("it waits", async || place.waiters().await == 1).await;
    first.release().await.unwrap();
    let second = waiting.await.unwrap().unwrap();
    second.release().await.unwrap();
    let third = place.held().await;
    assert_eq!(place.item().await.unwrap()["Note"], text("kept"));
    third.release().await.unwrap();
    assert_eq!(place.item().await.unwrap()["Note"], text("kept"));
}
