use super::{
    super::{
        Map, Standing, Value,
        codec::{decode, encode},
    },
    *,
};

/// A document as a later version might write it: things nobody knows here, at each level.
fn newer() -> Map {
    let mut map = encode(&lock(&[&shared(1), &shared(2), &job(3)]));
    map.insert("Format".into(), Value::number(2));
    map.insert("Shards".into(), Value::L(vec![Value::Null(true)]));
    map.insert("ExpiresAt".into(), Value::S("never".into()));
    for list in ["Holders", "Queue"] {
        let Some(Value::L(entries)) = map.get_mut(list) else { panic!("a list") };
        for entry in entries.iter_mut() {
            let Value::M(entry) = entry else { panic!("a map") };
            entry.insert("Mode".into(), Value::number(7));
            entry.insert("Who".into(), Value::S("ada".into()));
        }
        entries.push(Value::S("something else".into()));
    }
    map
}

fn entries<'a>(map: &'a Map, list: &str) -> &'a [Value] {
    match map.get(list) {
        Some(Value::L(entries)) => entries,
        other => panic!("{list} is {other:?}"),
    }
}

#[test]
fn it_is_read_and_written_back_as_it_was() {
    let state = decode(newer()).unwrap();
    assert!(state.is_newer());
    assert_eq!(encode(&state), newer());
}

#[test]
fn ones_own_hold_and_place_can_be_given_back() {
    let mut state = decode(newer()).unwrap();
    assert!(state.release(token(1)) && state.release(token(3)));
    state.seal(START);
    let written = encode(&state);
    assert_eq!(entries(&written, "Holders"), &entries(&newer(), "Holders")[1..]);
    assert_eq!(entries(&written, "Queue"), &entries(&newer(), "Queue")[1..]);
    assert_eq!(written["ExpiresAt"], Value::S("never".into()));
    assert_eq!(decode(written).unwrap().rev, state.rev);
}

#[test]
fn ones_own_hold_is_renewed_in_writing() {
    let mut state = decode(newer()).unwrap();
    assert!(state.renew(token(2), Beat(5)));
    let again = decode(encode(&state)).unwrap();
    assert_eq!(again.holder(token(2)).unwrap().term, Term::Live { beat: Beat(5), lease: Some(LEASE) });
    assert_eq!(again.holder(token(1)).unwrap().term, Term::Live { beat: Beat(0), lease: Some(LEASE) });
    assert!(again.rev > decode(newer()).unwrap().rev);
}

#[test]
fn a_hold_without_a_beat_that_is_understood_is_not_taken_for_renewed() {
    let mut map = newer();
    let Some(Value::L(entries)) = map.get_mut("Holders") else { panic!("a list") };
    let Value::M(entry) = &mut entries[0] else { panic!("a map") };
    entry.remove("Beat");
    assert!(!decode(map).unwrap().renew(token(1), Beat(5)));
}

#[test]
fn a_revocation_is_understood_but_not_written() {
    let mut map = newer();
    let Some(Value::L(entries)) = map.get_mut("Holders") else { panic!("a list") };
    let Value::M(entry) = &mut entries[0] else { panic!("a map") };
    entry.insert("Revoked".into(), Value::S("ada".into()));
    let mut state = decode(map).unwrap();
    assert_eq!(state.standing(token(1), &job(1).owner), Standing::Revoked { by: "ada".into() });
    assert!(!state.revoke(token(2), "ada"));
}

#[test]
fn without_a_revision_it_is_damaged() {
    let mut map = newer();
    map.remove("Rev");
    assert!(decode(map).is_err());
}

#[test]
fn nothing_is_left_standing_in_it() {
    let mut map = encode(&lock(&[&member(7, 1)]));
    map.insert("Format".into(), Value::number(2));
    let mut state = decode(map).unwrap();
    assert!(state.part(token(1), Some((START, LEASE))));
    assert_eq!(entries(&encode(&state), "Holders"), []);
}
