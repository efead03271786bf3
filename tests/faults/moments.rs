//! Each fault at each moment of a hold: never two at once, never stuck, and words that say what is wrong.

use std::time::{Duration, Instant};

use crate::{
    bed::Bed,
    cells::{Cell, cell},
    harness::{Kind, within},
    party::{How, Party, Start, rival},
    troubles::Trouble,
};

/// A request that is not answered, a retry, and a waiter's slowest look.
pub const SOON: Duration = Duration::from_secs(15);

/// A renewal may take effect whose reply is lost, also one that comes late,
/// up to the end of the work: from then on a lease with its allowance for
/// clocks, and a waiter's slowest look.
pub const LEASE_OVER: Duration = Duration::from_secs(6 + 4 + 8 + 2 + 4);

/// A keeper looks for a write that was not answered for a lease, after the last try to give the lock back.
pub const GONE: Duration = Duration::from_secs(6 + 3 + 2 + 4);

/// A trouble in the life of a party.
type Moment = fn(&Trouble, Start);

/// What may happen when.
const MOMENTS: [(&str, Moment); 5] = [
    ("first write", at_the_first_write),
    ("wait", while_it_waits),
    ("renewal", at_renewals),
    ("loss", for_the_rest_of_the_hold),
    ("release", at_the_release),
];

pub fn cells(who: &str, start: Start) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (moment, run) in MOMENTS {
        for trouble in Trouble::all() {
            let name = format!("{who}, {moment}, {}", trouble.name);
            cells.push(cell(name, move || run(&trouble, start)));
        }
    }
    cells
}

/// Somebody else gets the lock soon, works alone, and leaves it free.
#[track_caller]
pub fn goes_on(bed: &Bed, next: Box<dyn Party>, limit: Duration) {
    next.works_within(limit);
    next.finish();
    next.end().is(How::Done);
    bed.until_free();
    assert_eq!(bed.waiters(), 0, "nobody is left in the queue");
}

/// The message of a trouble names the lock, the cause, and what to do.
pub fn parts<'a>(bed: &'a Bed, trouble: &Trouble) -> [&'a str; 3] {
    [&bed.lock, trouble.cause, trouble.remedy]
}

pub fn at_the_first_write(trouble: &Trouble, start: Start) {
    let bed = Bed::new();
    let mut party = None;
    trouble.strike(&bed.proxy, &[Kind::FirstWrite], || party = Some(start(&bed)));
    let party = party.expect("it was started");
    if trouble.is_refusal {
        party.end().is(How::NotGot).says(&parts(&bed, trouble));
    } else {
        party.works_within(SOON);
        party.finish();
        let outcome = party.end().is(How::Done);
        if !trouble.is_harmless() {
            outcome.says(&parts(&bed, trouble));
        }
    }
    goes_on(&bed, rival(&bed), SOON);
    bed.host.nothing_is_left_within(GONE);
}

pub fn while_it_waits(trouble: &Trouble, start: Start) {
    let bed = Bed::new();
    let holder = rival(&bed);
    holder.until_it_works();
    let mut party = None;
    let mut ask = || party = Some(start(&bed));
    if trouble.is_refusal {
        ask();
    } else {
        trouble.strike(&bed.proxy, &[Kind::Queue], ask);
    }
    let party = party.expect("it was started");
    bed.until_waiters(1);
    trouble.strike(&bed.proxy, &[Kind::Read], || {});
    assert_eq!((bed.waiters(), party.works()), (1, false), "it keeps its place");
    let mut next = None;
    trouble.strike(&bed.proxy, &[Kind::Claim], || {
        next = Some(rival(&bed));
        bed.until_waiters(2);
        holder.finish();
        holder.end().is(How::Done);
    });
    party.works_within(SOON);
    party.finish();
    let outcome = party.end().is(How::Done);
    if !trouble.is_harmless() {
        outcome.says(&parts(&bed, trouble));
    }
    goes_on(&bed, next.expect("it was started"), SOON);
    bed.host.nothing_is_left_within(GONE);
}

/// Renewals meet the trouble, and are answered again.
pub fn strike_renewals(bed: &Bed, trouble: &Trouble) {
    trouble.strike(&bed.proxy, &[Kind::Renewal], || {});
    let good = || bed.proxy.seen().iter().filter(|s| s.kind == Kind::Renewal && !s.is_hit).count();
    let before = good();
    within(SOON, "it is renewed again", || good() >= before + 2);
}

/// A renewal or two fail, and the hold goes on.
fn at_renewals(trouble: &Trouble, start: Start) {
    let bed = Bed::new();
    let party = start(&bed);
    party.until_it_works();
    let next = rival(&bed);
    bed.until_waiters(1);
    strike_renewals(&bed, trouble);
    assert!(party.works() && !next.works());
    party.finish();
    party.end().is(How::Done);
    goes_on(&bed, next, SOON);
    bed.host.nothing_is_left_within(GONE);
}

/// Nothing gets through any more: the work ends in time, and says why.
fn for_the_rest_of_the_hold(trouble: &Trouble, start: Start) {
    let bed = Bed::new();
    let party = start(&bed);
    party.until_it_works();
    let next = rival(&bed);
    bed.until_waiters(1);
    let begun = Instant::now();
    trouble.begin(&bed.proxy, &[]);
    if trouble.is_harmless() {
        within(SOON, "renewals get through", || bed.proxy.hits() >= 4);
        party.finish();
        party.end().is(How::Done);
    } else {
        next.works_within(LEASE_OVER);
        // It was alone, or it would not be there.
        let outcome = party.end().is(How::Lost).says(&parts(&bed, trouble));
        assert!(outcome.said.contains("renewed"), "{}", outcome.said);
        assert!(begun.elapsed() < LEASE_OVER + SOON, "it took {:?}", begun.elapsed());
    }
    bed.proxy.mend();
    goes_on(&bed, next, SOON);
    bed.host.nothing_is_left_within(GONE);
}

/// The release fails for as long as anybody looks: the lock goes on all the same.
fn at_the_release(trouble: &Trouble, start: Start) {
    let bed = Bed::new();
    let party = start(&bed);
    party.until_it_works();
    let next = rival(&bed);
    bed.until_waiters(1);
    trouble.begin(&bed.proxy, &[Kind::Holders, Kind::Read]);
    party.finish();
    let outcome = party.end().is(How::Done);
    goes_on(&bed, next, LEASE_OVER);
    bed.proxy.mend();
    if outcome.said.contains("lock") {
        outcome.says(&[&bed.lock]);
    }
    bed.host.nothing_is_left_within(GONE);
}
