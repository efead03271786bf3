//! Keepers of another version, with stages of this one.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    thread::{self, JoinHandle},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::frames::{NEXT, OURS, folder, hear, say};
use crate::harness::{Attempt, Host, Process};

/// Listens in the stead of a job's keeper, which goes on beside it.
struct StandIn {
    socket: PathBuf,
    aside: PathBuf,
    serving: JoinHandle<Value>,
}

impl StandIn {
    /// Says `tells` to the first who asks anything, and closes.
    fn of(host: &Host, job: &Attempt, tells: Vec<Value>) -> Self {
        let (socket, aside) = (folder(host, job).join("socket"), folder(host, job).join("aside"));
        fs::rename(&socket, &aside).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let asked = hear(&stream).expect("it asks something");
            tells.iter().for_each(|tell| say(&stream, tell));
            // Until it has gone: what was said is not lost to it by a reset.
            while hear(&stream).is_some() {}
            asked
        });
        Self { socket, aside, serving }
    }

    /// What was asked of it.
    fn leaves(self) -> Value {
        fs::rename(self.aside, self.socket).unwrap();
        self.serving.join().unwrap()
    }
}

#[test]
fn a_keeper_of_the_next_version_refuses_and_the_stage_says_why_and_runs_nothing() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let message = format!("this job's keeper is of another version (protocol {NEXT}); retry the job");
    let refusal = json!({ "tell": "refused", "message": message, "is_missing": false, "versions": [NEXT] });
    let keeper = StandIn::of(&host, &job, vec![refusal]);
    let ended = job.script_ends("echo never").with_code(2).with_text(&["another version", "retry the job"]);
    assert!(!ended.text().contains("never\n"), "{}", ended.text());
    assert_eq!(keeper.leaves()["version"], OURS, "the stage says what it speaks");
    assert_eq!(host.holders(), [1], "the lock stays until cleanup");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn what_a_keeper_says_in_words_that_are_not_known_is_told_and_never_taken_for_success() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    for tell in
        [json!({ "tell": "suspended", "until": 5 }), json!({ "tell": "exited", "code": "0" }), json!([])]
    {
        let keeper = StandIn::of(&host, &job, vec![tell]);
        job.script_ends("echo never").with_code(2).with_text(&["does not know", "upgraded", "retry the job"]);
        keeper.leaves();
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let me = Process::find(std::process::id().cast_signed()).expect("it lives");
    let process = json!({ "pid": me.pid, "start_time": 1, "name": "new" });
    let tells = vec![
        json!({ "tell": "notice", "message": "from a newer one", "calm": true, "color": "blue" }),
        json!({ "tell": "started", "process": process, "cgroup": null, "kill_grace": { "secs": 1, "nanos": 0 }, "new": 1 }),
        json!({ "tell": "exited", "code": 0, "signal": null, "lost": null, "left": false, "energy": 5 }),
    ];
    let keeper = StandIn::of(&host, &job, tells);
    job.script_ends("never").with_code(0).with_text(&["from a newer one"]);
    keeper.leaves();
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_dead_keeper_of_the_next_version_is_buried_by_what_its_record_says() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let keeper = host.keepers()[0];
    keeper.signal(Signal::KILL);
    let file = folder(&host, &job).join("keeper.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["new"] = json!({ "of": ["the next version"] });
    record.as_object_mut().unwrap().remove("driver");
    fs::write(&file, record.to_string()).unwrap();
    job.cleanup().with_code(0).with_text(&["is released"]);
    host.is_clean_soon();
}
