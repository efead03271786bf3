//! The program and its processes.

use std::time::Instant;

use rustix::process::Signal;

use crate::{
    bed::Bed,
    harness::{Fault, Kind, Process, Proxy, Stage, within},
    moments::{GONE, LEASE_OVER, SOON, goes_on},
    party::{How, exec, rival},
};

/// V5045: who is cut off from the table works on while the lock goes to the next one. Here its work is dead before the
/// lease is over.
#[test]
fn bug_18_a_holder_that_is_cut_off_works_on() {
    let bed = Bed::new();
    let party = exec(&bed);
    party.until_it_works();
    let next = rival(&bed);
    bed.until_waiters(1);
    bed.proxy.silence();
    // It has to lock a file that the command's processes have locked.
    next.works_within(LEASE_OVER);
    party.end().is(How::Lost);
    bed.proxy.mend();
    goes_on(&bed, next, SOON);
    bed.host.nothing_is_left_within(GONE);
}

fn shell(bed: &Bed, script: &str) -> Stage {
    Stage::start(bed.command(&["exec", "--name", &bed.lock, "--", "sh", "-c", script]), true)
}

/// C2022, C1155, C4439, C2489: only the shell is killed and its children live on; signals are ignored while it waits.
#[test]
fn bug_19_children_outlive_the_shell_and_a_waiter_heeds_no_signal() {
    let bed = Bed::new();
    let script = format!(
        "sleep 600 & {}setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 & {}wait",
        bed.host.tells("below", "$!"),
        bed.host.tells("away", "$!")
    );
    let held = shell(&bed, &script);
    let children: Vec<Process> = ["below", "away"].map(|name| bed.host.told(name)).into();
    // Waiting, with a table that is there and with one that is not.
    for outage in [None, Some(Proxy::silence as fn(&Proxy))] {
        let waiting = shell(&bed, "exit 97");
        bed.until_waiters(1);
        outage.iter().for_each(|begin| begin(&bed.proxy));
        let since = Instant::now();
        waiting.term();
        let mut waiting = waiting;
        if outage.is_some() {
            within(SOON, "it tries to leave the queue", || bed.proxy.hits() > 0);
            assert!(waiting.runs() || since.elapsed() < SOON);
            bed.proxy.mend();
        }
        waiting.end().with_code(128 + Signal::TERM.as_raw());
        assert!(since.elapsed() < SOON, "it took {:?}", since.elapsed());
        bed.until_waiters(0);
    }
    held.term();
    held.end();
    for child in children {
        within(SOON, "the child is dead", || !child.lives());
    }
    bed.until_free();
    bed.host.nothing_is_left_within(GONE);
}

/// The item is deleted by force while a renewal is tried again, and the program crashes.
#[test]
fn bug_20_an_item_that_is_deleted_during_a_renewal_crashes_the_holder() {
    let bed = Bed::new();
    let party = exec(&bed);
    party.until_it_works();
    let begun = bed.proxy.hits();
    bed.proxy.fault(&[Kind::Renewal], Fault::server_error());
    within(SOON, "a renewal fails", || bed.proxy.hits() > begun);
    bed.delete();
    bed.proxy.mend();
    party.end().is(How::Lost).says(&[&bed.lock, "somebody else removed the hold"]);
    assert_eq!(bed.look(), None, "nothing is made anew");
    goes_on(&bed, rival(&bed), SOON);
    bed.host.nothing_is_left_within(GONE);
}

/// GL391663: a job that is retried goes past the lock of the one before it.
#[test]
fn bug_21_a_retried_job_goes_past_the_lock() {
    let bed = Bed::new();
    let first = bed.host.job(1).of_pipeline(7).prepared();
    // Retried from its page: a new job of the same name in the same pipeline.
    let again = bed.host.job(2).of_pipeline(7).attempt();
    let waiting = again.prepare();
    bed.until_waiters(1);
    // Retried by the runner, after an answer was lost: the same job once more.
    first.script_ends("true").with_code(0);
    assert_eq!((bed.holders(), bed.waiters()), (1, 1));
    let mut waiting = waiting;
    assert!(waiting.runs());
    first.finish();
    waiting.end().with_code(0);
    again.script_ends("true").with_code(0);
    again.finish();
    bed.until_free();
    bed.host.nothing_is_left_within(GONE);
}
