//! From the stored form to the lock's state.

use std::time::Duration;

use super::{
    super::{
        Beat, EpochMs, FORMAT, Fence, Holder, Limit, LockState, Map, Mode, Order, Owner, Rev, Term, Ticket,
        Value, Waiter, Who,
    },
    CodecError,
    error::damaged,
    fields::Fields,
    line::{decode_line, decode_newest},
    newer::decode_newer,
};

/// Reads a document from its attributes (its key may be among them; it is left out).
pub fn decode(mut map: Map) -> Result<LockState, CodecError> {
    map.remove("LockID");
    let format = format_of(&map)?;
    if format > FORMAT {
        return decode_newer(map, format);
    }
    let mut fields = Fields::new(&mut map, "");
    fields.number("Format")?;
    let rev = Rev(fields.counter("Rev")?);
    let fence = Fence(fields.counter("Fence")?);
    let holders = fields.entries("Holders", decode_holder)?;
    let queue = fields.entries("Queue", decode_waiter)?;
    let newest = decode_newest(&mut fields)?;
    let expires_at = fields.optional_number("ExpiresAt")?;
    Ok(LockState { format, rev, fence, holders, queue, newest, expires_at, extra: map })
}

fn format_of(map: &Map) -> Result<u32, CodecError> {
    match map.get("Format") {
        None => Err(CodecError::Foreign),
        Some(Value::N(digits)) => digits.parse().map_err(|_| damaged("Format", "is no version")),
        Some(_) => Err(damaged("Format", "is no number")),
    }
}

fn decode_holder(fields: &mut Fields<'_>) -> Result<Holder, CodecError> {
    let (mode, limit) = decode_mode(fields)?;
    let lease = fields.optional_number("Lease")?.map(Duration::from_millis);
    let term = match fields.optional_counter("Beat")?.map(Beat) {
        Some(beat) => Term::Live { beat, lease },
        None if lease.is_some() => return Err(fields.wrong("Beat", "is missing")),
        None => Term::Static { until: fields.optional_number("Until")?.map(EpochMs) },
    };
    Ok(Holder {
        owner: Owner::stored(fields.text("Owner")?),
        token: fields.token()?,
        fence: fields.optional_counter("Fence")?.map(Fence),
        mode,
        limit,
        slot: fields.optional_u32("Slot")?.unwrap_or(0),
        line: decode_line(fields)?,
        term,
        since: EpochMs(fields.number("Since")?),
        who: decode_who(fields)?,
        revoked: fields.optional_text("Revoked")?,
        reserved: fields.optional_text("Reserved")?,
        between: fields.optional_bool("Between")?.unwrap_or(false),
        extra: fields.rest(),
    })
}

fn decode_waiter(fields: &mut Fields<'_>) -> Result<Waiter, CodecError> {
    let (mode, limit) = decode_mode(fields)?;
    Ok(Waiter {
        owner: Owner::stored(fields.text("Owner")?),
        token: fields.token()?,
        ticket: Ticket(fields.counter("Ticket")?),
        mode,
        limit,
        priority: fields.optional_signed("Priority")?.unwrap_or(0),
        overtaken: fields.optional_u32("Overtaken")?.unwrap_or(0),
        order: decode_order(fields)?,
        line: decode_line(fields)?,
        since: EpochMs(fields.number("Since")?),
        missed: fields.optional_u32("Missed")?.unwrap_or(0),
        who: decode_who(fields)?,
        extra: fields.rest(),
    })
}

pub(super) fn decode_mode(fields: &mut Fields<'_>) -> Result<(Mode, Limit), CodecError> {
    let mode = match fields.optional_text("Mode")?.as_deref() {
        None | Some("exclusive") => Mode::Exclusive,
        Some("shared") => Mode::Shared,
        Some(_) => return Err(fields.wrong("Mode", "is neither `exclusive` nor `shared`")),
    };
    let limit = fields.optional_u32("Limit")?.map_or(mode.default_limit(), Limit);
    Ok((mode, limit))
}

fn decode_order(fields: &mut Fields<'_>) -> Result<Order, CodecError> {
    match fields.optional_text("Order")?.as_deref() {
        None | Some("first") => Ok(Order::First),
        Some("newest") => Ok(Order::Newest),
        Some(_) => Err(fields.wrong("Order", "is neither `first` nor `newest`")),
    }
}

/// What is unknown in `Who` stays in the entry's own rest, under that name.
pub(super) fn decode_who(fields: &mut Fields<'_>) -> Result<Who, CodecError> {
    let Some(mut map) = fields.optional_map("Who")? else { return Ok(Who::default()) };
    let path = fields.path("Who");
    let mut inner = Fields::new(&mut map, &path);
    let who = Who {
        project: inner.optional_text("Project")?.unwrap_or_default(),
        job: inner.optional_text("Job")?.unwrap_or_default(),
        job_id: inner.optional_number("JobId")?.unwrap_or(0),
        pipeline: inner.optional_number("Pipeline")?.unwrap_or(0),
        user: inner.optional_text("User")?.unwrap_or_default(),
        url: inner.optional_text("Url")?.unwrap_or_default(),
        host: inner.optional_text("Host")?.unwrap_or_default(),
    };
    if !map.is_empty() {
        fields.put_back("Who", Value::M(map));
    }
    Ok(who)
}
