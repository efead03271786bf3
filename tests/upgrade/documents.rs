//! Documents that another version wrote, over one store.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Host, LOCK};

fn document(host: &Host) -> Value {
    let database = Connection::open(host.path().join("locks.db")).unwrap();
    let query = "SELECT document FROM locks WHERE name = ?1";
    let text: String = database.query_row(query, [LOCK], |row| row.get(0)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn change(host: &Host, change: impl FnOnce(&mut Value)) {
    let mut new = document(host);
    change(&mut new);
    let database = Connection::open(host.path().join("locks.db")).unwrap();
    database.execute("UPDATE locks SET document = ?1 WHERE name = ?2", [&new.to_string(), LOCK]).unwrap();
}

#[test]
fn what_a_newer_one_added_to_a_document_outlives_everything_that_is_done_with_it() {
    let host = Host::local("");
    let first = host.job(1).prepared();
    let second = host.job(2).attempt();
    let waiting = second.prepare();
    host.until_queued(&[2]);
    let new = || json!({ "M": { "Since": { "S": "the next version" } } });
    change(&host, |document| {
        document["Added"] = new();
        document["Holders"]["L"][0]["M"]["Added"] = new();
        document["Queue"]["L"][0]["M"]["Added"] = new();
        document["Queue"]["L"][0]["M"]["Who"]["M"]["Added"] = new();
    });
    let third = host.job(3).attempt();
    let behind = third.prepare();
    host.until_queued(&[2, 3]);
    let now = document(&host);
    assert_eq!(now["Holders"]["L"][0]["M"]["Added"], new(), "a newcomer keeps what the holder has");
    assert_eq!(now["Queue"]["L"][0]["M"]["Added"], new(), "and the one before it");
    assert_eq!(now["Queue"]["L"][0]["M"]["Who"]["M"]["Added"], new());
    first.finish();
    waiting.end().with_code(0);
    second.finish();
    behind.end().with_code(0);
    third.finish();
    assert_eq!(document(&host)["Added"], new(), "all have come and gone");
    host.job(4).prepared().finish();
    assert_eq!(document(&host)["Added"], new(), "a first write keeps it too");
    host.is_clean_soon();
}

#[test]
fn a_lock_of_a_newer_form_is_refused_in_words_and_given_back_by_who_holds_it() {
    let host = Host::local("wait: 20s");
    let first = host.job(1).prepared();
    let second = host.job(2).attempt();
    let waiting = second.prepare();
    host.until_queued(&[2]);
    change(&host, |document| document["Format"] = json!({ "N": "2" }));
    let third = host.job(3).attempt();
    third.prepare().end().with_code(2).with_text(&[LOCK, "newer pipeline-lock", "upgrade"]);
    third.finish();
    waiting.end().with_code(2).with_text(&["upgrade"]);
    second.finish();
    first.script_ends("echo goes on").with_code(0).with_text(&["goes on"]);
    first.finish().with_text(&["is released"]);
    let left = document(&host);
    assert_eq!(
        (&left["Format"], &left["Holders"]["L"]),
        (&json!({ "N": "2" }), &json!([])),
        "the rest is as it was"
    );
    assert_eq!(left["Queue"]["L"], json!([]), "who gave up has left, too");
    host.nothing_is_left();
}
