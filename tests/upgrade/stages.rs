//! Stages of another version, with a keeper of this one.

use std::os::unix::net::UnixStream;

use serde_json::json;

use super::frames::{NEXT, OURS, folder, hear, say};
use crate::harness::{Host, eventually};

#[test]
fn a_stage_of_another_version_is_refused_in_words_and_the_job_keeps_its_lock() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    // The next version may send more, and less, than this one.
    for ask in [
        json!({ "ask": "run", "version": NEXT, "stage": "build_script" }),
        json!({ "ask": "run", "version": NEXT, "script": { "name": "build_script" } }),
        json!({ "ask": "run", "version": 0, "stage": "build_script", "new": [1] }),
    ] {
        let stream = UnixStream::connect(folder(&host, &job).join("socket")).unwrap();
        say(&stream, &ask);
        let told = hear(&stream).expect("an answer");
        let message = told["message"].as_str().unwrap_or_default();
        let parts = ["another version", &format!("protocol {OURS}"), "retry the job"];
        assert!(
            told["tell"] == "refused" && parts.iter().all(|part| message.contains(part)),
            "{ask}: {told}"
        );
    }
    let stream = UnixStream::connect(folder(&host, &job).join("socket")).unwrap();
    say(&stream, &json!({ "ask": "dance" }));
    assert_eq!(hear(&stream).expect("an answer")["tell"], "refused");
    assert_eq!(host.holders(), [1]);
    job.script_ends("echo goes on").with_code(0).with_text(&["goes on"]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn every_versions_cleanup_ends_a_job() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let stream = UnixStream::connect(folder(&host, &job).join("socket")).unwrap();
    say(&stream, &json!({ "ask": "end", "version": NEXT, "why": "the next version says why" }));
    let told = hear(&stream).expect("an answer");
    assert_eq!(
        (&told["tell"], &told["released"][0]),
        (&json!("ended"), &json!("gitlab.example.com/shop/web"))
    );
    eventually("the keeper has ended", || !folder(&host, &job).exists());
    job.finish();
    host.is_clean_soon();
}
