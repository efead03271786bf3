//! A document that a newer program wrote: of it only one's own token is touched.

use super::{
    super::{
        EpochMs, Fence, Holder, Limit, LockState, Map, Mode, Owner, Rev, Term, Ticket, Token, Value, Waiter,
        Who,
    },
    CodecError,
    fields::Fields,
};

/// A newer document is written back as it was, less the entries that were released.
pub(super) fn encode_newer(state: &LockState) -> Map {
    let mut map = state.extra.clone();
    let kept = |token: &Token| state.holder(*token).is_some() || state.waiter(*token).is_some();
    for list in ["Holders", "Queue"] {
        if let Some(Value::L(entries)) = map.get_mut(list) {
            entries.retain(|entry| token_of(entry).is_none_or(|token| kept(&token)));
        }
    }
    map.insert("Rev".into(), Value::number(state.rev));
    map
}

/// Of a newer document, what one's own release and renewal need: the tokens. The rest is kept whole.
pub(super) fn decode_newer(map: Map, format: u32) -> Result<LockState, CodecError> {
    let mut copy = map.clone();
    let mut fields = Fields::new(&mut copy, "");
    let rev = Rev(fields.number("Rev")?);
    let fence = Fence(fields.optional_number("Fence")?.unwrap_or(0));
    let bare = |token| Holder {
        owner: Owner::alone(token),
        token,
        fence: None,
        mode: Mode::Exclusive,
        limit: Limit(1),
        term: Term::Static { until: None },
        since: EpochMs(0),
        who: Who::default(),
        revoked: None,
        extra: Map::new(),
    };
    let tokens = |list: &str| match map.get(list) {
        Some(Value::L(entries)) => entries.iter().filter_map(token_of).collect(),
        _ => Vec::new(),
    };
    let holders = tokens("Holders").into_iter().map(bare).collect();
    let queue = tokens("Queue").into_iter().map(bare_waiter).collect();
    Ok(LockState { format, rev, fence, holders, queue, expires_at: None, extra: map })
}

fn bare_waiter(token: Token) -> Waiter {
    Waiter {
        owner: Owner::alone(token),
        token,
        ticket: Ticket(0),
        mode: Mode::Exclusive,
        limit: Limit(1),
        priority: 0,
        since: EpochMs(0),
        missed: 0,
        who: Who::default(),
        extra: Map::new(),
    }
}

fn token_of(entry: &Value) -> Option<Token> {
    match entry {
        Value::M(map) => match map.get("Token") {
            Some(Value::S(text)) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
