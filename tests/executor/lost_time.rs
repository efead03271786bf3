//! A machine that stood still while others went on, as its clocks tell after a suspend or a freeze by the hypervisor.
//!
//! Ignored unless asked for (`tests/run --test executor lost_time -- --ignored --test-threads=1`): they set the machine's wall clock
//! five seconds forward, and back a moment later, for which they have to be root.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::harness::{Attempt, Host, Proxy, Stage, Store, endpoint, eventually};

const LOST: i64 = 5;

/// The wall clock is ahead while this lives.
struct Ahead;

impl Ahead {
    fn of_what_it_was() -> Self {
        shift(LOST);
        Self
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        shift(-LOST);
    }
}

fn shift(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec { tv_sec: now.tv_sec + seconds, ..now };
    clock_settime(ClockId::Realtime, then).expect("this test may set the clock: it has to be root");
}

/// A host with a table behind a proxy, and its job, which writes a line twenty times a second until `gate` opens.
struct Machine {
    proxy: Proxy,
    host: Host,
    job: Attempt,
    run: Stage,
}

impl Machine {
    fn with_a_job() -> Self {
        let table = Store::table();
        let proxy = Proxy::to(&endpoint());
        let host = Host::through(&table, &proxy.url, "");
        let job = host.job(1).prepared();
        let ticks = host.path().join("ticks");
        let gate = host.path().join("gate");
        let lines = format!(
            "until [ -e {gate} ]; do echo tick >>{ticks}; sleep 0.05; done\necho finished",
            gate = gate.display(),
            ticks = ticks.display()
        );
        let run = job.run("build_script", &lines);
        let machine = Self { proxy, host, job, run };
        eventually("the job writes", || machine.ticks() > 0);
        machine
    }

    fn ticks(&self) -> u64 {
        fs::metadata(self.host.path().join("ticks")).map_or(0, |file| file.len())
    }

    /// Loses time while its table is silent: the job must not go on.
    #[track_caller]
    fn loses_time(&self) -> Ahead {
        self.proxy.silence();
        let ahead = Ahead::of_what_it_was();
        self.run.says("the job is frozen until its locks are proven to be held");
        self.stands_still_for(Duration::from_secs(1));
        ahead
    }

    #[track_caller]
    fn stands_still_for(&self, time: Duration) {
        let (ticks, since) = (self.ticks(), Instant::now());
        while since.elapsed() < time {
            assert_eq!(self.ticks(), ticks, "the job went on after {:?}", since.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
#[ignore = "sets the machine's clock"]
fn a_job_on_a_machine_that_stood_still_is_frozen_until_its_lock_is_proven() {
    let machine = Machine::with_a_job();
    let ahead = machine.loses_time();
    let frozen = machine.ticks();
    drop(ahead);
    machine.stands_still_for(Duration::from_millis(200));
    machine.proxy.mend();
    eventually("the job goes on", || machine.ticks() > frozen);
    machine.host.write("gate", "");
    machine.run.end().with_code(0).with_text(&["the locks are still held: the job goes on", "finished"]);
    machine.job.finish();
    machine.host.is_clean_soon();
    machine.host.nothing_is_left();
}

/// A job between two stages when time is lost, and the keeper that saw it.
fn frozen_between_two_stages() -> (Proxy, Host, Attempt) {
    let table = Store::table();
    let proxy = Proxy::to(&endpoint());
    let host = Host::through(&table, &proxy.url, "");
    let job = host.job(1).prepared();
    proxy.silence();
    let ahead = Ahead::of_what_it_was();
    eventually("the keeper has seen it", || job.keeper_log().contains("the job is frozen"));
    drop(ahead);
    (proxy, host, job)
}

#[test]
#[ignore = "sets the machine's clock"]
fn a_script_that_comes_while_its_job_is_frozen_begins_when_its_lock_is_proven() {
    let (proxy, host, job) = frozen_between_two_stages();
    let run = job.run("build_script", &format!("touch {}/begun; echo finished", host.path().display()));
    run.says("the script begins when the job's locks are proven to be held");
    assert!(!host.path().join("begun").exists(), "it began on a lock that is not proven");
    proxy.mend();
    let ended = run.end().with_code(0).with_text(&["finished"]);
    assert!(!ended.text().contains("was lost"), "{}", ended.text());
    job.finish();
    host.is_clean_soon();
    host.nothing_is_left();
}

#[test]
#[ignore = "sets the machine's clock"]
fn a_script_that_comes_while_its_job_is_frozen_is_refused_with_the_lock() {
    let (proxy, host, job) = frozen_between_two_stages();
    let ended = job.script_ends("echo begun").with_code(2).with_text(&["was lost"]);
    assert!(!ended.text().contains("begun\n"), "{}", ended.text());
    proxy.mend();
    job.finish();
    host.nothing_is_left();
}

#[test]
#[ignore = "sets the machine's clock"]
fn a_stage_that_is_told_to_end_while_its_job_is_frozen_ends() {
    let (proxy, host, job) = frozen_between_two_stages();
    let run = job.run("build_script", "echo begun");
    run.says("the script begins when");
    run.term();
    let ended = run.end().with_text(&["before the script had begun"]);
    assert!(!ended.text().contains("begun\n"), "{}", ended.text());
    proxy.mend();
    job.finish();
    host.is_clean_soon();
    host.nothing_is_left();
}

#[test]
#[ignore = "sets the machine's clock"]
fn a_job_on_a_machine_that_stood_still_ends_with_its_lease_without_having_gone_on() {
    let machine = Machine::with_a_job();
    drop(machine.loses_time());
    let frozen = machine.ticks();
    let ended = machine.run.end().with_code(2).with_text(&["was lost", "the job is ended"]);
    assert!(!ended.text().contains("goes on"), "{}", ended.text());
    let ticks = fs::metadata(machine.host.path().join("ticks")).expect("it is there").len();
    assert_eq!(ticks, frozen, "it was frozen to its end");
    machine.proxy.mend();
    machine.job.finish();
    machine.host.nothing_is_left();
}
