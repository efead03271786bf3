//! A document that a newer program wrote: of it only one's own token is touched.

use std::time::Duration;

use super::{
    super::{
        Beat, EpochMs, Fence, Holder, Limit, LockState, Map, Mode, Order, Owner, Rev, Term, Ticket, Token,
        Value, Waiter, Who,
    },
    CodecError,
    fields::Fields,
};

/// A newer document is written back as it was, less the entries that were released, and with the beats that
/// were counted.
pub(super) fn encode_newer(state: &LockState) -> Map {
    let mut map = state.extra.clone();
    let kept = |token: &Token| state.holder(*token).is_some() || state.waiter(*token).is_some();
    for list in ["Holders", "Queue"] {
        if let Some(Value::L(entries)) = map.get_mut(list) {
            entries.retain(|entry| token_of(entry).is_none_or(|token| kept(&token)));
        }
    }
    if let Some(Value::L(entries)) = map.get_mut("Holders") {
        entries.iter_mut().for_each(|entry| encode_beat(state, entry));
    }
    map.insert("Rev".into(), Value::number(state.rev));
    map
}

fn encode_beat(state: &LockState, entry: &mut Value) {
    let term = token_of(entry).and_then(|token| state.holder(token)).map(|holder| holder.term);
    if let (Some(Term::Live { beat, .. }), Value::M(map)) = (term, entry) {
        map.insert("Beat".into(), Value::number(beat));
    }
}

/// Of a newer document, what one's own release and renewal need: the tokens, and of the holders what this
/// version understands. The rest is kept whole.
pub(super) fn decode_newer(map: Map, format: u32) -> Result<LockState, CodecError> {
    let mut copy = map.clone();
    let mut fields = Fields::new(&mut copy, "");
    let rev = Rev(fields.counter("Rev")?);
    let fence = Fence(fields.optional_counter("Fence").ok().flatten().unwrap_or(0));
    let entries = |list: &str| match map.get(list) {
        Some(Value::L(entries)) => entries.as_slice(),
        _ => &[],
    };
    let holders = entries("Holders").iter().filter_map(bare_holder).collect();
    let queue = entries("Queue").iter().filter_map(bare_waiter).collect();
    Ok(LockState { rev, fence, holders, queue, extra: map, format, ..LockState::new(EpochMs(0)) })
}

fn bare_holder(entry: &Value) -> Option<Holder> {
    let token = token_of(entry)?;
    let Value::M(mut map) = entry.clone() else { return None };
    let mut fields = Fields::new(&mut map, "");
    let lease = fields.optional_number("Lease").ok().flatten().map(Duration::from_millis);
    let term = match fields.optional_counter("Beat") {
        Ok(Some(beat)) => Term::Live { beat: Beat(beat), lease },
        _ => Term::Static { until: None },
    };
    Some(Holder {
        owner: owner_of(entry).unwrap_or_else(|| Owner::alone(token)),
        token,
        fence: fields.optional_counter("Fence").ok().flatten().map(Fence),
        mode: Mode::Exclusive,
        limit: Limit(1),
        slot: 0,
        line: None,
        term,
        since: EpochMs(0),
        who: Who::default(),
        revoked: fields.optional_text("Revoked").ok().flatten(),
        reserved: None,
        between: false,
        extra: Map::new(),
    })
}

fn bare_waiter(entry: &Value) -> Option<Waiter> {
    let token = token_of(entry)?;
    Some(Waiter {
        owner: owner_of(entry).unwrap_or_else(|| Owner::alone(token)),
        token,
        ticket: Ticket(0),
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        overtaken: 0,
        order: Order::First,
        line: None,
        since: EpochMs(0),
        missed: 0,
        who: Who::default(),
        extra: Map::new(),
    })
}

fn owner_of(entry: &Value) -> Option<Owner> {
    text_of(entry, "Owner").map(Owner::stored)
}

fn token_of(entry: &Value) -> Option<Token> {
    text_of(entry, "Token")?.parse().ok()
}

fn text_of<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    match entry {
        Value::M(map) => match map.get(key) {
            Some(Value::S(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
