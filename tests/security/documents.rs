//! A lock's document that somebody tampered with.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    attacker::{EVIL, is_tame, run},
    harness::{Host, LOCK},
};

/// The document of the lock, changed in the file.
fn tamper(host: &Host, change: impl FnOnce(&mut Value)) {
    let database = Connection::open(host.path().join("locks.db")).unwrap();
    let text: String =
        database.query_row("SELECT document FROM locks WHERE name = ?1", [LOCK], |row| row.get(0)).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    change(&mut document);
    let text = match document {
        Value::String(text) => text,
        document => document.to_string(),
    };
    let changed = database.execute("UPDATE locks SET document = ?1 WHERE name = ?2", [&text, LOCK]).unwrap();
    assert_eq!(changed, 1);
}

fn n(number: impl ToString) -> Value {
    json!({ "N": number.to_string() })
}

/// An entry of the holders that this program would not have written.
fn holder(token: &str, more: Value) -> Value {
    let mut entry = json!({
        "Owner": { "S": EVIL }, "Token": { "S": token }, "Since": { "N": "18446744073709551615" },
        "Who": { "M": { "Job": { "S": EVIL }, "Url": { "S": EVIL }, "Host": { "S": EVIL }, "User": { "S": EVIL } } },
    });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "M": entry })
}

const TOKEN: &str = "6d0f6b32-6e7f-4a7c-9d7e-0d9a4ae0b0a1";

/// What a job meets that wants the lock.
type Case = (&'static str, fn(&mut Value));

const CASES: [Case; 20] = [
    ("no JSON", |d| *d = json!("{")),
    ("no map", |d| *d = json!("[1,2]")),
    ("a deep one", |d| *d = json!("{\"L\":[".repeat(5000))),
    ("empty", |d| *d = json!({})),
    ("no format", |d| drop(d.as_object_mut().unwrap().remove("Format"))),
    ("format 0", |d| d["Format"] = n(0)),
    ("a newer format", |d| d["Format"] = n(2)),
    ("the largest format", |d| d["Format"] = n(u32::MAX)),
    ("a format that is no number", |d| d["Format"] = json!({ "S": EVIL })),
    ("the largest revision", |d| d["Rev"] = n(u64::MAX)),
    ("a negative revision", |d| d["Rev"] = n(-1)),
    ("the largest fence", |d| d["Fence"] = n(u64::MAX)),
    ("a fraction", |d| d["Fence"] = json!({ "N": "1e30" })),
    ("a live holder with the longest lease", |d| {
        d["Holders"] = json!({ "L": [holder(TOKEN, json!({ "Beat": { "N": "1" }, "Lease": { "N": "18446744073709551615" } }))] });
    }),
    ("a static holder for ever", |d| {
        d["Holders"] = json!({ "L": [holder(TOKEN, json!({ "Until": { "N": "18446744073709551615" } }))] });
    }),
    ("a reservation", |d| {
        d["Holders"] = json!({ "L": [holder(TOKEN, json!({ "Reserved": { "S": EVIL }, "Until": { "N": "18446744073709551615" } }))] });
    }),
    ("the same token twice, and the highest slot", |d| {
        let one = holder(TOKEN, json!({ "Slot": { "N": "4294967295" }, "Limit": { "N": "0" } }));
        d["Holders"] = json!({ "L": [one.clone(), one] });
    }),
    ("a thousand holders", |d| {
        let all: Vec<Value> =
            (0..1000).map(|n| holder(&format!("6d0f6b32-6e7f-4a7c-9d7e-{n:012}"), json!({}))).collect();
        d["Holders"] = json!({ "L": all });
    }),
    ("a queue of tokens that nobody has", |d| {
        let entry = |n: u32| {
            let token = format!("6d0f6b32-6e7f-4a7c-9d7e-{n:012}");
            holder(
                &token,
                json!({ "Ticket": { "N": "0" }, "Priority": { "N": "2147483647" }, "Overtaken": { "N": "4294967295" } }),
            )
        };
        d["Queue"] = json!({ "L": (0..50).map(entry).collect::<Vec<_>>() });
    }),
    ("a token that is a path", |d| {
        d["Holders"] = json!({ "L": [holder("../../../etc/passwd", json!({ "Beat": { "N": "1" } }))] });
    }),
];

#[test]
fn a_tampered_document_costs_its_own_lock_and_no_other() {
    for (what, change) in CASES {
        let host = Host::local("wait: 1s");
        host.job(1).prepared().finish();
        let other = host.job(2).variable("PIPELINE_LOCK", &format!("{LOCK}/other")).prepared();
        tamper(&host, change);
        let start = Instant::now();
        let job = host.job(3).attempt();
        let ended = job.prepare().end();
        assert!(matches!(ended.code, Some(0..=2)), "{what}: {ended:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        is_tame(&ended.text());
        if ended.code != Some(0) {
            assert!(ended.text().contains(LOCK), "{what}: the lock is named: {}", ended.text());
        }
        for args in [&["list"][..], &["status"], &["status", LOCK], &["history", LOCK], &["unlock", LOCK]] {
            let (code, said) = run(host.site.program("direct.yaml").args(args));
            assert!((0..=3).contains(&code), "{what}: {args:?} ended with {code}: {said}");
            is_tame(&said);
        }
        job.cleanup();
        other.script_ends("true").with_code(0);
        assert_eq!(host.status_of(&format!("{LOCK}/other"))["holders"][0]["who"]["job_id"], 2, "{what}");
        other.finish();
    }
}

#[test]
fn a_document_that_is_tampered_with_while_it_is_held_ends_no_job_and_frees_nothing() {
    for (what, change) in [CASES[0], CASES[6], CASES[9]] {
        let host = Host::local("wait: 1s");
        let job = host.job(1).prepared();
        tamper(&host, change);
        job.script_ends("true").with_code(0);
        let next = host.job(2).attempt();
        let ended = next.prepare().end();
        assert_ne!(ended.code, Some(0), "{what}: {}", ended.text());
        next.cleanup();
        job.cleanup();
    }
}
