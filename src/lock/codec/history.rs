//! The stored form of a hold's ending.

use std::time::Duration;

use super::{
    super::{Ending, EpochMs, Fence, How, Map, Mode, Owner, Value},
    CodecError,
    decode::{decode_mode, decode_who},
    encode::{encode_mode, encode_who},
    fields::Fields,
};

/// An ending's attributes; times are in milliseconds, and what has its usual value is left out.
pub fn encode_ending(ending: &Ending) -> Map {
    let mut map = Map::from([
        ("Owner".into(), Value::S(ending.owner.to_string())),
        ("Fence".into(), Value::number(ending.fence)),
        ("Since".into(), Value::number(ending.since)),
        ("Held".into(), Value::number(ending.held.as_millis())),
        ("How".into(), Value::S(ending.how.as_str().into())),
    ]);
    encode_mode(&mut map, ending.mode, ending.mode.default_limit());
    if ending.slot != 0 {
        map.insert("Slot".into(), Value::number(ending.slot));
    }
    if !ending.waited.is_zero() {
        map.insert("Waited".into(), Value::number(ending.waited.as_millis()));
    }
    encode_who(&mut map, &ending.who);
    map
}

/// Reads an ending from its attributes; others that are there too (a key, what a newer version wrote) are
/// passed over, as an ending is never written back.
pub fn decode_ending(mut map: Map) -> Result<Ending, CodecError> {
    let mut fields = Fields::new(&mut map, "");
    let (mode, _): (Mode, _) = decode_mode(&mut fields)?;
    Ok(Ending {
        who: decode_who(&mut fields)?,
        owner: Owner::stored(fields.text("Owner")?),
        fence: Fence(fields.counter("Fence")?),
        mode,
        slot: fields.optional_u32("Slot")?.unwrap_or(0),
        waited: Duration::from_millis(fields.optional_number("Waited")?.unwrap_or(0)),
        since: EpochMs(fields.number("Since")?),
        held: Duration::from_millis(fields.number("Held")?),
        how: How::from_word(&fields.text("How")?).ok_or_else(|| fields.wrong("How", "is no known word"))?,
    })
}
