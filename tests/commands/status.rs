//! `status`: who holds, who waits.

use serde_json::{Value, json};

use crate::harness::{Host, LOCK, Stage, Store, Version};

#[test]
fn a_lock_is_shown_with_its_holder_and_its_queue() {
    for host in [Host::local(""), Host::dynamodb("")] {
        host.run(&["status"]).with_code(0).with_text(&["No lock is held or awaited."]);
        host.run(&["status", LOCK]).with_code(0).with_text(&[LOCK, "free"]);
        let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
        let waiting = waiter.prepare();
        host.until_queued(&[2]);
        for args in [&["status"][..], &["status", LOCK]] {
            host.run(args).with_code(0).with_text(&[
                LOCK,
                "held",
                "job deploy-1 #1",
                "https://gitlab.example.com/shop/web/-/jobs/1",
                "waits  1",
                "deploy-2",
                "fence",
            ]);
        }
        holder.finish();
        waiting.end().with_code(0);
        waiter.finish();
        host.run(&["status"]).with_code(0).with_text(&["No lock is held or awaited."]);
    }
}

#[test]
fn programs_get_json() {
    let host = Host::local("");
    let free: Value = host.status_of("never/held");
    assert_eq!(free, json!({ "name": "never/held", "fence": 0, "holders": [], "queue": [] }));
    let list = |host: &Host| -> Value {
        serde_json::from_slice(&host.run(&["status", "--json"]).with_code(0).out).unwrap()
    };
    assert_eq!(list(&host), json!([]));
    let job = host.job(1).of_version(Version::V17).of_pipeline(77).prepared();
    let all = list(&host);
    let held = &all[0]["holders"][0];
    assert_eq!((all.as_array().unwrap().len(), &all[0]["name"]), (1, &json!(LOCK)));
    assert_eq!((&held["live"], &held["owner"]), (&json!(true), &json!("job:gitlab.example.com/1")));
    assert_eq!(held["token"], job.token());
    assert_eq!(held["who"]["pipeline"], 77);
    assert_eq!(held["who"]["project"], "shop/web");
    assert_eq!(held["who"]["user"], "mara");
    let text = all.to_string();
    for secret in ["s3cr3t", "PASSWORD"] {
        assert!(!text.contains(secret), "{text}");
    }
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_table_that_is_not_there_says_how_to_make_it() {
    let host = Host::new(&Store::Table("no-such-table".into()), "");
    host.run(&["status"]).with_code(3).with_text(&["no-such-table", "pipeline-lock table create"]);
    host.job(1)
        .attempt()
        .prepare()
        .end()
        .with_code(2)
        .with_text(&["no-such-table", "pipeline-lock table create"]);
}

#[test]
fn a_reader_that_is_gone_is_no_reason_to_panic() {
    let host = Host::local("");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Stage::start_into(host.command(&["status"]), writer.into()).end();
    assert!(ended.code != Some(101) && ended.signal != Some(6), "{ended:?}");
}

#[test]
fn a_file_that_is_missing_is_told_once_with_its_cause() {
    let host = Host::local("");
    let mut command = host.site.program("none.yaml");
    command.arg("status");
    let text = Stage::start(command, false).end().with_code(3).error_text();
    assert!(text.contains("none.yaml"), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn what_is_not_usual_about_a_hold_or_a_place_is_shown() {
    let host = Host::local(
        "locks: [{ name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}', limit: 2, order: newest, priority: 5 }]",
    );
    let holders = [host.job(1).prepared(), host.job(2).prepared()];
    let waiter = host.job(3).attempt();
    let waiting = waiter.prepare();
    host.until_queued(&[3]);
    host.run(&["status", LOCK]).with_code(0).with_text(&[", slot 1", ", priority 5, newest first"]);
    let status = host.status_of(LOCK);
    assert_eq!((&status["holders"][0]["slot"], &status["holders"][1]["slot"]), (&Value::Null, &json!(1)));
    assert_eq!(
        (&status["queue"][0]["priority"], &status["queue"][0]["order"]),
        (&json!(5), &json!("newest"))
    );
    assert_eq!(status["queue"][0]["mode"], Value::Null, "the usual one");
    holders.iter().for_each(|job| drop(job.finish()));
    waiting.end().with_code(0);
    waiter.finish();
    host.is_clean_soon();
}
