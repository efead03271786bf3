use super::{
    super::{
        CodecError, Map, Value,
        codec::{decode, encode},
    },
    *,
};

fn document() -> Map {
    encode(&lock(&[&shared(1), &job(2)]))
}

fn entry<'a>(map: &'a mut Map, list: &str) -> &'a mut Map {
    match map.get_mut(list) {
        Some(Value::L(entries)) => match &mut entries[0] {
            Value::M(entry) => entry,
            other => panic!("{other:?}"),
        },
        other => panic!("{list} is {other:?}"),
    }
}

/// The error's text after `change` was made to a document.
fn refused(change: impl FnOnce(&mut Map)) -> String {
    let mut map = document();
    change(&mut map);
    decode(map).unwrap_err().to_string()
}

#[test]
fn a_document_comes_back_as_it_was() {
    let state = lock(&[&shared(1), &job(2)]);
    assert_eq!(decode(encode(&state)).unwrap(), state);
}

#[test]
fn the_key_may_be_among_the_attributes() {
    let mut map = document();
    map.insert("LockID".into(), Value::S("a/b".into()));
    assert_eq!(decode(map).unwrap(), decode(document()).unwrap());
}

#[test]
fn numbers_are_numbers_and_what_is_usual_is_left_out() {
    let mut map = document();
    assert!(matches!(map["Rev"], Value::N(_)) && matches!(map["Fence"], Value::N(_)));
    assert!(!map.contains_key("ExpiresAt"));
    let waiter = entry(&mut map, "Queue");
    for usual in ["Mode", "Limit", "Priority", "Missed"] {
        assert!(!waiter.contains_key(usual), "{usual}");
    }
}

#[test]
fn an_item_of_another_program_is_foreign() {
    let item = Map::from([("Owner".into(), Value::S("python".into()))]);
    assert_eq!(decode(item), Err(CodecError::Foreign));
    assert_eq!(decode(Map::new()), Err(CodecError::Foreign));
}

#[test]
fn damage_is_named_by_its_path() {
    let text = || Value::S("x".into());
    assert!(refused(|m| drop(m.remove("Rev"))).contains("Rev is missing"));
    assert!(refused(|m| drop(m.remove("Queue"))).contains("Queue is missing"));
    assert!(refused(|m| drop(m.insert("Format".into(), text()))).contains("Format is no number"));
    assert!(refused(|m| drop(m.insert("Holders".into(), text()))).contains("Holders is no list"));
    assert!(
        refused(|m| drop(m.insert("Queue".into(), Value::L(vec![text()])))).contains("Queue[0] is no map")
    );
    assert!(
        refused(|m| drop(entry(m, "Holders").insert("Token".into(), text()))).contains("Holders[0].Token")
    );
    assert!(refused(|m| drop(entry(m, "Queue").insert("Mode".into(), text()))).contains("Queue[0].Mode"));
    assert!(refused(|m| drop(entry(m, "Holders").remove("Beat"))).contains("Holders[0].Beat is missing"));
    let who = Value::M(Map::from([("Job".into(), Value::Bool(true))]));
    assert!(refused(|m| drop(entry(m, "Holders").insert("Who".into(), who))).contains("Holders[0].Who.Job"));
}

#[test]
fn a_counter_at_the_end_of_its_range_is_damage() {
    for counter in ["Rev", "Fence"] {
        let error = refused(|m| drop(m.insert(counter.into(), Value::number(u64::MAX))));
        assert!(error.contains("out of range"), "{error}");
    }
    assert!(
        refused(|m| drop(entry(m, "Queue").insert("Ticket".into(), Value::number(u64::MAX))))
            .contains("Ticket")
    );
}

#[test]
fn what_is_unknown_stays_at_every_level() {
    let line = Some(super::super::Line::new("shop main", 5));
    let mut map = encode(&lock(&[&Request { line: line.clone(), ..shared(1) }, &Request { line, ..job(2) }]));
    let new = || Value::Ss(vec!["x".into()]);
    map.insert("New".into(), new());
    for list in ["Holders", "Queue"] {
        entry(&mut map, list).insert("New".into(), new());
        for inner in ["Who", "Line"] {
            let Some(Value::M(inner)) = entry(&mut map, list).get_mut(inner) else { panic!("a map") };
            inner.insert("New".into(), new());
        }
    }
    let mut state = decode(map.clone()).unwrap();
    assert_eq!(encode(&state), map);
    state.renew(token(1), Beat(9));
    assert_eq!(state.request(&shared(3), true), Outcome::Queued);
    let mut after = encode(&state);
    assert_eq!(after["New"], new());
    assert_eq!(entry(&mut after, "Queue")["New"], new());
}
