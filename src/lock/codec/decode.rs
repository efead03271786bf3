//! From the stored form to the lock's state.

use std::time::Duration;

use super::{
    super::{
        Beat, EpochMs, FORMAT, Fence, Holder, Limit, LockState, Map, Mode, Owner, Rev, Term, Ticket, Waiter,
        Who,
    },
    CodecError,
    error::damaged,
    fields::Fields,
    newer::decode_newer,
};

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
