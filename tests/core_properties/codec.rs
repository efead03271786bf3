//! The stored form: what was written comes back, and nothing that is read can hurt.

use std::time::Duration;

use pipeline_lock::lock::{
    Beat, Ending, EpochMs, Fence, Holder, How, Limit, Line, LockState, Map, Mode, Moment, Order, Owner, Plan,
    Request, Rev, Sight, Term, Ticket, Token, Value, Waiter, Watch, Who, codec, plan,
};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

use crate::config;

/// The counters of a document leave half of their range for counting on.
const COUNTERS: std::ops::RangeInclusive<u64> = 0..=u64::MAX / 2;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        ".{0,6}".prop_map(Value::S),
        any::<i64>().prop_map(Value::number),
        "[0-9.eE+-]{0,6}".prop_map(Value::N),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null(true)),
        vec(any::<u8>(), 0..4).prop_map(Value::B),
        vec(".{0,3}", 1..3).prop_map(Value::Ss),
        vec("[0-9]{1,3}", 1..3).prop_map(Value::Ns),
        vec(vec(any::<u8>(), 0..3), 1..3).prop_map(Value::Bs),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::L),
            prop::collection::btree_map("[A-Z][a-z]{0,3}", inner, 0..3).prop_map(Value::M),
        ]
    })
}

/// Attributes that no version knows: their names begin with an X.
fn unknown() -> impl Strategy<Value = Map> {
    prop::collection::btree_map("X[a-z]{0,3}", value(), 0..3)
}

/// The unknown of an entry, and of the `Who` and the `Line` in it.
fn unknown_of_entry() -> impl Strategy<Value = (Option<Line>, Map)> {
    (option::of(line()), unknown(), unknown(), unknown()).prop_map(|(line, mut entry, who, of_line)| {
        if !who.is_empty() {
            entry.insert("Who".into(), Value::M(who));
        }
        if !of_line.is_empty() && line.is_some() {
            entry.insert("Line".into(), Value::M(of_line));
        }
        (line, entry)
    })
}

fn line() -> impl Strategy<Value = Line> {
    (".{0,6}", any::<u64>()).prop_map(|(key, pipeline)| Line { key, pipeline })
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::First), Just(Order::Newest)]
}

fn token() -> impl Strategy<Value = Token> {
    any::<u128>().prop_map(|n| Token::new(Uuid::from_u128(n)))
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        any::<u64>().prop_map(|id| Owner::job("gitlab", id)),
        any::<(u64, u64)>().prop_map(|(project, id)| Owner::pipeline("gitlab", project, id)),
        ".{0,9}".prop_map(Owner::stored),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Exclusive), Just(Mode::Shared)]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![Just(Limit(1)), Just(Limit(u32::MAX)), any::<u32>().prop_map(Limit)]
}

fn who() -> impl Strategy<Value = Who> {
    (vec(".{0,6}", 5), any::<u64>(), 0..3u64).prop_map(|(text, job_id, pipeline)| {
        let [project, job, user, url, host] = text.try_into().unwrap();
        Who { project, job, job_id, pipeline, user, url, host }
    })
}

fn term() -> impl Strategy<Value = Term> {
    let lease = option::of(any::<u64>().prop_map(Duration::from_millis));
    prop_oneof![
        (COUNTERS, lease).prop_map(|(beat, lease)| Term::Live { beat: Beat(beat), lease }),
        option::of(any::<u64>().prop_map(EpochMs)).prop_map(|until| Term::Static { until }),
    ]
}

fn holder() -> impl Strategy<Value = Holder> {
    let ids = (owner(), token(), option::of(COUNTERS.prop_map(Fence)));
    let how = (mode(), limit(), 0..3u32, term());
    let marks = (option::of(".{0,6}"), option::of(".{0,6}"), any::<bool>());
    (ids, how, any::<u64>(), who(), marks, unknown_of_entry()).prop_map(
        |((owner, token, fence), (mode, limit, slot, term), since, who, marks, (line, extra))| Holder {
            owner,
            token,
            fence,
            mode,
            limit,
            slot,
            line,
            term,
            since: EpochMs(since),
            who,
            revoked: marks.0,
            reserved: marks.1,
            between: marks.2,
            extra,
        },
    )
}

fn waiter() -> impl Strategy<Value = Waiter> {
    let numbers = (COUNTERS, -2..2i32, any::<u64>(), 0..3u32, 0..3u32);
    let how = (mode(), limit(), order());
    (owner(), token(), numbers, how, who(), unknown_of_entry()).prop_map(
        |(owner, token, numbers, (mode, limit, order), who, (line, extra))| Waiter {
            owner,
            token,
            ticket: Ticket(numbers.0),
            mode,
            limit,
            priority: numbers.1,
            overtaken: numbers.4,
            order,
            line,
            since: EpochMs(numbers.2),
            missed: numbers.3,
            who,
            extra,
        },
    )
}

fn state() -> impl Strategy<Value = LockState> {
    let lists = (vec(holder(), 0..3), vec(waiter(), 0..3), vec(line(), 0..3));
    (COUNTERS, COUNTERS, lists, option::of(any::<u64>()), unknown()).prop_map(
        |(rev, fence, (holders, queue, newest), expires_at, extra)| LockState {
            format: 1,
            rev: Rev(rev),
            fence: Fence(fence),
            holders,
            queue,
            newest,
            expires_at,
            extra,
        },
    )
}

fn ending() -> impl Strategy<Value = Ending> {
    let how = prop::sample::select(&[
        How::Released,
        How::Lost,
        How::Evicted,
        How::Forced,
        How::Expired,
        How::Revoked,
    ]);
    let times = (any::<u32>(), any::<u64>(), any::<u32>());
    (who(), owner(), COUNTERS, mode(), 0..3u32, times, how).prop_map(
        |(who, owner, fence, mode, slot, (waited, since, held), how)| Ending {
            who,
            owner,
            fence: Fence(fence),
            mode,
            slot,
            waited: Duration::from_millis(waited.into()),
            since: EpochMs(since),
            held: Duration::from_millis(held.into()),
            how,
        },
    )
}

/// The attributes of an ending.
const ENDING: &[&str] = &["Owner", "Fence", "Mode", "Slot", "Waited", "Since", "Held", "How", "Who"];

/// The attributes of a document, at all levels.
const KNOWN: &[&str] = &[
    "Format",
    "Rev",
    "Fence",
    "Holders",
    "Queue",
    "ExpiresAt",
    "Owner",
    "Token",
    "Ticket",
    "Mode",
    "Limit",
    "Priority",
    "Since",
    "Missed",
    "Who",
    "Beat",
    "Lease",
    "Until",
    "Revoked",
    "Slot",
    "Overtaken",
    "Order",
    "Line",
    "Key",
    "Newest",
    "Reserved",
    "Between",
    "Job",
    "JobId",
];

/// A document with one attribute somewhere replaced or removed.
fn damaged() -> impl Strategy<Value = Map> {
    let numbers = prop_oneof![Just(u64::MAX), Just(u64::MAX / 2), Just(0), Just(2)];
    let new = option::of(prop_oneof![value(), numbers.prop_map(Value::number)]);
    (state(), prop::sample::select(KNOWN), new).prop_map(|(state, key, new)| {
        let mut map = codec::encode(&state);
        put(&mut map, key, new.as_ref());
        map
    })
}

fn put(map: &mut Map, key: &str, new: Option<&Value>) {
    for inner in map.values_mut() {
        match inner {
            Value::M(map) => put(map, key, new),
            Value::L(list) => list.iter_mut().for_each(|entry| {
                if let Value::M(map) = entry {
                    put(map, key, new);
                }
            }),
            _ => {}
        }
    }
    if map.contains_key(key) {
        match new {
            Some(new) => drop(map.insert(key.to_owned(), new.clone())),
            None => drop(map.remove(key)),
        }
    }
}

/// Everything that may be done with a document that could be read.
fn use_it(state: &LockState) {
    let me = Token::new(Uuid::from_u128(1));
    let request = Request {
        owner: Owner::alone(me),
        token: me,
        replaces: state.holders.first().map(|h| h.token),
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        order: Order::First,
        line: None,
        max_queue: None,
        term: Term::Live { beat: Beat(0), lease: None },
        who: Who::default(),
        since: EpochMs(0),
        force_after: Some(Duration::ZERO),
    };
    let mut watch = Watch::default();
    for seconds in [0, 100_000] {
        let now = Moment(Duration::from_secs(seconds));
        watch.observe(state, now);
        let sight =
            Sight { now, store_now: EpochMs(u64::MAX), gone: &[], may_queue: true, was_queued: seconds > 0 };
        if let Plan::Write { next, .. } = plan(state, &request, &watch, sight, EpochMs(u64::MAX)) {
            let _ = codec::decode(codec::encode(&next));
        }
        for place in [1, 2, 1000] {
            watch.next_look(place, now);
        }
    }
    for token in state.holders.iter().map(|h| h.token).chain(state.queue.iter().map(|w| w.token)) {
        let mut state = state.clone();
        state.renew(token, Beat(u64::MAX / 2));
        state.revoke(token, "operator");
        state.release(token);
        state.seal(EpochMs(u64::MAX));
        let _ = state.over_free(None, EpochMs(0));
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn what_is_written_comes_back_with_all_that_is_unknown(state in state()) {
        prop_assert_eq!(codec::decode(codec::encode(&state)), Ok(state));
    }

    #[test]
    fn an_ending_that_is_written_comes_back(ending in ending(), other in unknown()) {
        let mut map = codec::encode_ending(&ending);
        map.extend(other);
        prop_assert_eq!(codec::decode_ending(map), Ok(ending));
    }

    #[test]
    fn no_record_makes_a_reader_panic(ending in ending(), key in prop::sample::select(ENDING), new in value()) {
        let mut map = codec::encode_ending(&ending);
        map.insert(key.into(), new);
        let _ = codec::decode_ending(map);
    }

    #[test]
    fn a_newer_document_comes_back_attribute_by_attribute(state in state(), format in 2..9u32, more in value()) {
        let mut map = codec::encode(&state);
        map.insert("Format".into(), Value::number(format));
        map.insert("Since".into(), more);
        prop_assert_eq!(codec::encode(&codec::decode(map.clone()).unwrap()), map);
    }

    #[test]
    fn no_document_makes_a_reader_panic(
        map in prop::collection::btree_map("(Format|Rev|Fence|Holders|Queue|ExpiresAt|[A-Z][a-z])", value(), 0..7),
    ) {
        let _ = codec::decode(map).map(|state| use_it(&state));
    }

    #[test]
    fn no_damage_to_a_document_makes_a_client_panic(map in damaged()) {
        let _ = codec::decode(map).map(|state| use_it(&state));
    }
}
