//! From the lock's state to its stored form.

use super::{
    super::{Holder, Limit, LockState, Map, Mode, Order, Term, Value, Waiter, Who},
    line::{encode_line, encode_newest},
    newer::encode_newer,
};

/// The document's attributes, without its key.
pub fn encode(state: &LockState) -> Map {
    if state.is_newer() {
        return encode_newer(state);
    }
    let mut map = state.extra.clone();
    map.insert("Format".into(), Value::number(state.format));
    map.insert("Rev".into(), Value::number(state.rev));
    map.insert("Fence".into(), Value::number(state.fence));
    map.insert("Holders".into(), encode_holders(&state.holders));
    map.insert("Queue".into(), encode_queue(&state.queue));
    if !state.newest.is_empty() {
        map.insert("Newest".into(), encode_newest(&state.newest));
    }
    if let Some(at) = state.expires_at {
        map.insert("ExpiresAt".into(), Value::number(at));
    }
    map
}

/// The holders, as the document's attribute `Holders`.
pub fn encode_holders(holders: &[Holder]) -> Value {
    Value::L(holders.iter().map(|h| Value::M(encode_holder(h))).collect())
}

/// The queue, as the document's attribute `Queue`.
pub fn encode_queue(queue: &[Waiter]) -> Value {
    Value::L(queue.iter().map(|w| Value::M(encode_waiter(w))).collect())
}

/// The size of a queue in the document, in the bytes that DynamoDB counts.
pub(in crate::lock) fn queue_size(queue: &[Waiter]) -> usize {
    queue.iter().map(waiter_size).sum()
}

/// The size of one entry of the queue, likewise.
pub(in crate::lock) fn waiter_size(waiter: &Waiter) -> usize {
    1 + Value::M(encode_waiter(waiter)).size()
}

fn encode_holder(holder: &Holder) -> Map {
    let mut map = holder.extra.clone();
    map.insert("Owner".into(), Value::S(holder.owner.to_string()));
    map.insert("Token".into(), Value::S(holder.token.to_string()));
    if let Some(fence) = holder.fence {
        map.insert("Fence".into(), Value::number(fence));
    }
    encode_mode(&mut map, holder.mode, holder.limit);
    if holder.slot != 0 {
        map.insert("Slot".into(), Value::number(holder.slot));
    }
    encode_line(&mut map, holder.line.as_ref());
    match holder.term {
        Term::Live { beat, lease } => {
            map.insert("Beat".into(), Value::number(beat));
            if let Some(lease) = lease {
                map.insert("Lease".into(), Value::number(lease.as_millis()));
            }
        }
        Term::Static { until } => {
            if let Some(until) = until {
                map.insert("Until".into(), Value::number(until));
            }
        }
    }
    map.insert("Since".into(), Value::number(holder.since));
    encode_who(&mut map, &holder.who);
    if let Some(by) = &holder.revoked {
        map.insert("Revoked".into(), Value::S(by.clone()));
    }
    if let Some(reason) = &holder.reserved {
        map.insert("Reserved".into(), Value::S(reason.clone()));
    }
    if holder.between {
        map.insert("Between".into(), Value::Bool(true));
    }
    map
}

fn encode_waiter(waiter: &Waiter) -> Map {
    let mut map = waiter.extra.clone();
    map.insert("Owner".into(), Value::S(waiter.owner.to_string()));
    map.insert("Token".into(), Value::S(waiter.token.to_string()));
    map.insert("Ticket".into(), Value::number(waiter.ticket));
    encode_mode(&mut map, waiter.mode, waiter.limit);
    if waiter.priority != 0 {
        map.insert("Priority".into(), Value::number(waiter.priority));
    }
    if waiter.overtaken != 0 {
        map.insert("Overtaken".into(), Value::number(waiter.overtaken));
    }
    if waiter.order != Order::First {
        map.insert("Order".into(), Value::S(waiter.order.as_str().into()));
    }
    encode_line(&mut map, waiter.line.as_ref());
    map.insert("Since".into(), Value::number(waiter.since));
    if waiter.missed != 0 {
        map.insert("Missed".into(), Value::number(waiter.missed));
    }
    encode_who(&mut map, &waiter.who);
    map
}

pub(super) fn encode_mode(map: &mut Map, mode: Mode, limit: Limit) {
    if mode != Mode::Exclusive {
        map.insert("Mode".into(), Value::S(mode.as_str().into()));
    }
    if limit != mode.default_limit() {
        map.insert("Limit".into(), Value::number(limit.0));
    }
}

/// Adds `who` to an entry's map, where what is unknown of it may be already.
pub(super) fn encode_who(entry: &mut Map, who: &Who) {
    let mut map = match entry.remove("Who") {
        Some(Value::M(unknown)) => unknown,
        _ => Map::new(),
    };
    let texts = [
        ("Project", &who.project),
        ("Job", &who.job),
        ("User", &who.user),
        ("Url", &who.url),
        ("Host", &who.host),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        map.insert(key.into(), Value::S(text.clone()));
    }
    for (key, id) in
        [("JobId", who.job_id), ("Pipeline", who.pipeline)].into_iter().filter(|(_, id)| *id != 0)
    {
        map.insert(key.into(), Value::number(id));
    }
    entry.insert("Who".into(), Value::M(map));
}
