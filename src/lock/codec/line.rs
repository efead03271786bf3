//! Lines of deployments in the document.

use super::{
    super::{Line, Map, Value},
    CodecError,
    fields::Fields,
};

/// Adds `line` to an entry's map, where what is unknown of it may be already.
pub(super) fn encode_line(entry: &mut Map, line: Option<&Line>) {
    let Some(line) = line else { return };
    let mut map = match entry.remove("Line") {
        Some(Value::M(unknown)) => unknown,
        _ => Map::new(),
    };
    map.extend(line_map(line));
    entry.insert("Line".into(), Value::M(map));
}

/// The lines whose older waiters lost their places, as the document's attribute `Newest`.
pub fn encode_newest(newest: &[Line]) -> Value {
    Value::L(newest.iter().map(|line| Value::M(line_map(line))).collect())
}

fn line_map(line: &Line) -> Map {
    Map::from([("Key".into(), Value::S(line.key.clone())), ("Pipeline".into(), Value::number(line.pipeline))])
}

/// What is unknown in `Line` stays in the entry's own rest, under that name.
pub(super) fn decode_line(fields: &mut Fields<'_>) -> Result<Option<Line>, CodecError> {
    let Some(mut map) = fields.optional_map("Line")? else { return Ok(None) };
    let path = fields.path("Line");
    let line = line_of(&mut Fields::new(&mut map, &path))?;
    if !map.is_empty() {
        fields.put_back("Line", Value::M(map));
    }
    Ok(Some(line))
}

/// An entry of `Newest` is a passing note: what is unknown in it is not kept.
pub(super) fn decode_newest(fields: &mut Fields<'_>) -> Result<Vec<Line>, CodecError> {
    Ok(fields.optional_entries("Newest", line_of)?.unwrap_or_default())
}

fn line_of(fields: &mut Fields<'_>) -> Result<Line, CodecError> {
    Ok(Line { key: fields.text("Key")?, pipeline: fields.number("Pipeline")? })
}
