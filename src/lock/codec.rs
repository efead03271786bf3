//! The document as it is stored, and back. Numbers are written and read as numbers, unknown attributes are
//! kept, and a document that something else wrote is an error rather than a guess.

use std::time::Duration;

use thiserror::Error;

use super::{
    Beat, EpochMs, FORMAT, Fence, Holder, Limit, LockState, Map, Mode, Owner, Rev, Term, Ticket, Token,
    Value, Waiter, Who,
};

/// Why a stored document is not read as a lock.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The item has no `Format`: another program wrote it. Give the lock another name or table, or delete
    /// the item once nothing uses it.
    #[error("the item was written by another program: it has no `Format` attribute")]
    Foreign,
    /// An attribute is missing or has the wrong form: something else changed the document. Look at the item
    /// and repair or delete it once no job holds it.
    #[error("the lock's document is damaged: {attribute} {problem}")]
    Damaged {
        /// Which attribute, as a path.
        attribute: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn damaged(attribute: &str, problem: &'static str) -> CodecError {
    CodecError::Damaged { attribute: attribute.to_owned(), problem }
}

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
pub(super) fn queue_size(queue: &[Waiter]) -> usize {
    queue.iter().map(waiter_size).sum()
}

/// The size of one entry of the queue, likewise.
pub(super) fn waiter_size(waiter: &Waiter) -> usize {
    1 + Value::M(encode_waiter(waiter)).size()
}

/// A newer document is written back as it was, less the entries that were released.
fn encode_newer(state: &LockState) -> Map {
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

fn encode_holder(holder: &Holder) -> Map {
    let mut map = holder.extra.clone();
    map.insert("Owner".into(), Value::S(holder.owner.to_string()));
    map.insert("Token".into(), Value::S(holder.token.to_string()));
    if let Some(fence) = holder.fence {
        map.insert("Fence".into(), Value::number(fence));
    }
    encode_mode(&mut map, holder.mode, holder.limit);
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
    map.insert("Who".into(), encode_who(&holder.who));
    if let Some(by) = &holder.revoked {
        map.insert("Revoked".into(), Value::S(by.clone()));
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
    map.insert("Since".into(), Value::number(waiter.since));
    if waiter.missed != 0 {
        map.insert("Missed".into(), Value::number(waiter.missed));
    }
    map.insert("Who".into(), encode_who(&waiter.who));
    map
}

fn encode_mode(map: &mut Map, mode: Mode, limit: Limit) {
    if mode != Mode::Exclusive {
        map.insert("Mode".into(), Value::S(mode.as_str().into()));
    }
    if limit != mode.default_limit() {
        map.insert("Limit".into(), Value::number(limit.0));
    }
}

fn encode_who(who: &Who) -> Value {
    let mut map = Map::new();
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
    Value::M(map)
}

/// Reads a document from its attributes (its key may be among them; it is left out).
pub fn decode(mut map: Map) -> Result<LockState, CodecError> {
    map.remove("LockID");
    let format = match map.get("Format") {
        None => return Err(CodecError::Foreign),
        Some(_) => u32::try_from(Fields::new(&mut map.clone(), "").number("Format")?)
            .map_err(|_| damaged("Format", "is no version"))?,
    };
    if format > FORMAT {
        return decode_newer(map, format);
    }
    let mut fields = Fields::new(&mut map, "");
    fields.number("Format")?;
    let rev = Rev(fields.number("Rev")?);
    let fence = Fence(fields.number("Fence")?);
    let holders = fields.entries("Holders", decode_holder)?;
    let queue = fields.entries("Queue", decode_waiter)?;
    let expires_at = fields.optional_number("ExpiresAt")?;
    Ok(LockState { format, rev, fence, holders, queue, expires_at, extra: map })
}

/// Of a newer document, what one's own release and renewal need: the tokens. The rest is kept whole.
fn decode_newer(map: Map, format: u32) -> Result<LockState, CodecError> {
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

fn decode_holder(fields: &mut Fields<'_>) -> Result<Holder, CodecError> {
    let (mode, limit) = decode_mode(fields)?;
    let lease = fields.optional_number("Lease")?.map(Duration::from_millis);
    let term = match fields.optional_number("Beat")?.map(Beat) {
        Some(beat) => Term::Live { beat, lease },
        None if lease.is_some() => return Err(fields.wrong("Beat", "is missing")),
        None => Term::Static { until: fields.optional_number("Until")?.map(EpochMs) },
    };
    Ok(Holder {
        owner: Owner::stored(fields.text("Owner")?),
        token: fields.token()?,
        fence: fields.optional_number("Fence")?.map(Fence),
        mode,
        limit,
        term,
        since: EpochMs(fields.number("Since")?),
        who: decode_who(fields)?,
        revoked: fields.optional_text("Revoked")?,
        extra: fields.rest(),
    })
}

fn decode_waiter(fields: &mut Fields<'_>) -> Result<Waiter, CodecError> {
    let (mode, limit) = decode_mode(fields)?;
    Ok(Waiter {
        owner: Owner::stored(fields.text("Owner")?),
        token: fields.token()?,
        ticket: Ticket(fields.number("Ticket")?),
        mode,
        limit,
        priority: fields.optional_signed("Priority")?.unwrap_or(0),
        since: EpochMs(fields.number("Since")?),
        missed: fields.optional_u32("Missed")?.unwrap_or(0),
        who: decode_who(fields)?,
        extra: fields.rest(),
    })
}

fn decode_mode(fields: &mut Fields<'_>) -> Result<(Mode, Limit), CodecError> {
    let mode = match fields.optional_text("Mode")?.as_deref() {
        None | Some("exclusive") => Mode::Exclusive,
        Some("shared") => Mode::Shared,
        Some(_) => return Err(fields.wrong("Mode", "is neither `exclusive` nor `shared`")),
    };
    let limit = fields.optional_u32("Limit")?.map_or(mode.default_limit(), Limit);
    Ok((mode, limit))
}

fn decode_who(fields: &mut Fields<'_>) -> Result<Who, CodecError> {
    let Some(mut map) = fields.optional_map("Who")? else { return Ok(Who::default()) };
    let path = fields.path("Who");
    let mut fields = Fields::new(&mut map, &path);
    Ok(Who {
        project: fields.optional_text("Project")?.unwrap_or_default(),
        job: fields.optional_text("Job")?.unwrap_or_default(),
        job_id: fields.optional_number("JobId")?.unwrap_or(0),
        pipeline: fields.optional_number("Pipeline")?.unwrap_or(0),
        user: fields.optional_text("User")?.unwrap_or_default(),
        url: fields.optional_text("Url")?.unwrap_or_default(),
        host: fields.optional_text("Host")?.unwrap_or_default(),
    })
}

/// Takes known attributes out of a map, with their path for errors; what is left is unknown.
struct Fields<'a> {
    map: &'a mut Map,
    at: String,
}

impl<'a> Fields<'a> {
    fn new(map: &'a mut Map, at: &str) -> Self {
        Self { map, at: at.to_owned() }
    }

    fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    fn wrong(&self, key: &str, problem: &'static str) -> CodecError {
        damaged(&self.path(key), problem)
    }

    fn rest(&mut self) -> Map {
        std::mem::take(self.map)
    }

    fn optional_text(&mut self, key: &str) -> Result<Option<String>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "is no text")),
        }
    }

    fn text(&mut self, key: &str) -> Result<String, CodecError> {
        self.optional_text(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn token(&mut self) -> Result<Token, CodecError> {
        self.text("Token")?.parse().map_err(|_| self.wrong("Token", "is no UUID"))
    }

    fn optional_parsed<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::N(digits)) => {
                digits.parse().map(Some).map_err(|_| self.wrong(key, "is a number out of range"))
            }
            Some(_) => Err(self.wrong(key, "is no number")),
        }
    }

    fn optional_number(&mut self, key: &str) -> Result<Option<u64>, CodecError> {
        self.optional_parsed(key)
    }

    fn optional_u32(&mut self, key: &str) -> Result<Option<u32>, CodecError> {
        self.optional_parsed(key)
    }

    fn optional_signed(&mut self, key: &str) -> Result<Option<i32>, CodecError> {
        self.optional_parsed(key)
    }

    fn number(&mut self, key: &str) -> Result<u64, CodecError> {
        self.optional_number(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn optional_map(&mut self, key: &str) -> Result<Option<Map>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::M(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(key, "is no map")),
        }
    }

    fn entries<T>(
        &mut self,
        key: &str,
        decode: fn(&mut Fields<'_>) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let Some(Value::L(list)) = self.map.remove(key) else {
            return Err(self.wrong(key, "is no list"));
        };
        let mut entries = Vec::with_capacity(list.len());
        for (i, entry) in list.into_iter().enumerate() {
            let path = self.path(&format!("{key}[{i}]"));
            let Value::M(mut map) = entry else { return Err(damaged(&path, "is no map")) };
            entries.push(decode(&mut Fields::new(&mut map, &path))?);
        }
        Ok(entries)
    }
}
