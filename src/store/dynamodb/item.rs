//! Items as DynamoDB's client has them, and the neutral form that the core reads.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use super::place::Place;
use crate::{
    lock::{Beat, CodecError, LockName, LockState, Map, Token, Value, clean, codec},
    store::StoreError,
};

/// The partition key.
pub(super) const KEY: &str = "LockID";

/// The attribute that names the region in which a lock is decided. Global tables let the last writer win,
/// so that two regions would both grant.
pub(super) const HOME: &str = "Home";

/// An item's attributes.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A value for a request.
pub(super) fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(digits) => AttributeValue::N(digits),
        Value::Bool(truth) => AttributeValue::Bool(truth),
        Value::Null(null) => AttributeValue::Null(null),
        Value::L(list) => AttributeValue::L(list.into_iter().map(attribute).collect()),
        Value::M(map) => AttributeValue::M(map.into_iter().map(|(k, v)| (k, attribute(v))).collect()),
        Value::B(bytes) => AttributeValue::B(Blob::new(bytes)),
        Value::Ss(set) => AttributeValue::Ss(set),
        Value::Ns(set) => AttributeValue::Ns(set),
        Value::Bs(set) => AttributeValue::Bs(set.into_iter().map(Blob::new).collect()),
    }
}

/// A number for a request.
pub(super) fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

/// A value of a reply; `None` for a type that did not exist when this was written.
fn value(attribute: AttributeValue) -> Option<Value> {
    Some(match attribute {
        AttributeValue::S(text) => Value::S(text),
        AttributeValue::N(digits) => Value::N(digits),
        AttributeValue::Bool(truth) => Value::Bool(truth),
        AttributeValue::Null(null) => Value::Null(null),
        AttributeValue::L(list) => Value::L(list.into_iter().map(value).collect::<Option<_>>()?),
        AttributeValue::M(map) => {
            Value::M(map.into_iter().map(|(k, v)| Some((k, value(v)?))).collect::<Option<_>>()?)
        }
        AttributeValue::B(bytes) => Value::B(bytes.into_inner()),
        AttributeValue::Ss(set) => Value::Ss(set),
        AttributeValue::Ns(set) => Value::Ns(set),
        AttributeValue::Bs(set) => Value::Bs(set.into_iter().map(Blob::into_inner).collect()),
        _ => return None,
    })
}

/// The item as the core's map.
pub(super) fn map(name: &LockName, item: Item) -> Result<Map, StoreError> {
    let convert = |(key, attribute): (String, AttributeValue)| match value(attribute) {
        Some(value) => Ok((key, value)),
        None => Err(CodecError::Damaged {
            attribute: clean(&key).into_owned(),
            problem: "has a type that is not known",
        }),
    };
    let map: Result<Map, CodecError> = item.into_iter().map(convert).collect();
    map.map_err(|error| StoreError::Document { name: name.clone(), error })
}

/// The lock that an item is. `Home` is the table's business and no part of the lock.
pub(super) fn lock(name: &LockName, mut map: Map) -> Result<LockState, StoreError> {
    map.remove(HOME);
    codec::decode(map).map_err(|error| StoreError::Document { name: name.clone(), error })
}

/// The lock that an item is, if this is the region that decides it.
pub(super) fn lock_at_home(place: &Place, name: &LockName, item: Item) -> Result<LockState, StoreError> {
    let map = map(name, item)?;
    match map.get(HOME) {
        Some(Value::S(home)) if *home != place.region => Err(StoreError::Refused(format!(
            "lock {name}: it is kept in region {home}, and this is region {}. In a table with replicas all \
             runners must use one region: set `region: {home}`",
            place.region,
            home = clean(home)
        ))),
        _ => lock(name, map),
    }
}

/// Where the hold of `token` is in the item's list of holders, and its beat (a static hold has none).
pub(super) fn hold(map: &Map, token: Token) -> Option<(usize, Option<Beat>)> {
    let Some(Value::L(holders)) = map.get("Holders") else { return None };
    holders.iter().enumerate().find_map(|(index, holder)| {
        let Value::M(holder) = holder else { return None };
        let is_own = matches!(holder.get("Token"), Some(Value::S(text)) if text.parse() == Ok(token));
        let beat = match holder.get("Beat") {
            Some(Value::N(digits)) => digits.parse().ok().map(Beat),
            _ => None,
        };
        is_own.then_some((index, beat))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_value_comes_back_as_it_was() {
        let all = Value::M(Map::from([
            ("s".into(), Value::S("ü".into())),
            ("n".into(), Value::N("18446744073709551615".into())),
            ("bool".into(), Value::Bool(true)),
            ("null".into(), Value::Null(true)),
            ("l".into(), Value::L(vec![Value::N("1".into()), Value::M(Map::new())])),
            ("b".into(), Value::B(vec![0, 255])),
            ("ss".into(), Value::Ss(vec!["a".into()])),
            ("ns".into(), Value::Ns(vec!["-1.5".into()])),
            ("bs".into(), Value::Bs(vec![vec![1], vec![]])),
        ]));
        assert_eq!(value(attribute(all.clone())), Some(all));
    }
}
