//! The two kinds of swap as conditional changes.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    expression::Change,
    item::{attribute, number},
};
use crate::lock::{EpochMs, FORMAT, LockState, Map, Value, codec};

/// Puts `new` where there is no lock or a free one, and goes on from the numbers that are there, as
/// [`LockState::over_free`] does. Nobody has read anything before: that is the one write of an acquire. (`Newest` stays as it is.)
pub(super) fn over_free(new: &LockState, seed: EpochMs, region: &str) -> Change {
    let mut change = Change {
        condition: "attribute_not_exists(#LockID) OR (#Format <= :format AND size(#Holders) = :none AND \
                    size(#Queue) = :none AND (attribute_not_exists(#Home) OR #Home = :home))"
            .into(),
        set: vec![
            "#Rev = if_not_exists(#Rev, :seed) + :one".into(),
            "#Fence = if_not_exists(#Fence, :seed) + :one".into(),
            "#Home = if_not_exists(#Home, :home)".into(),
        ],
        remove: Vec::new(),
        values: vec![
            (":none", number(0)),
            (":one", number(1)),
            (":seed", number(seed)),
            (":home", AttributeValue::S(region.to_owned())),
        ],
        wants_item: true,
    };
    // The numbers are counted above, on what is there; a holder has the document's, and none of its own.
    let mut document = codec::encode(&new.clone().over_free(None, seed));
    set(&mut change, "#Format = :format", ":format", Some(Value::number(FORMAT)));
    set(&mut change, "#Holders = :holders", ":holders", document.remove("Holders"));
    set(&mut change, "#Queue = :queue", ":queue", document.remove("Queue"));
    set_expiry(&mut change, &mut document);
    change
}

/// Puts `new` where `expected` is. Attributes that this version does not know stay as they are, and lists
/// that are the same are not sent. (A newer document's encoding has all but the released entries as they were read.)
pub(super) fn over_this(expected: &LockState, new: &LockState) -> Change {
    let mut change = Change {
        condition: "#Rev = :expected".into(),
        set: Vec::new(),
        remove: Vec::new(),
        values: vec![(":expected", number(expected.rev))],
        wants_item: false,
    };
    let mut document = codec::encode(new);
    set(&mut change, "#Rev = :rev", ":rev", document.remove("Rev"));
    if new.holders != expected.holders {
        set(&mut change, "#Holders = :holders", ":holders", document.remove("Holders"));
    }
    if new.queue != expected.queue {
        set(&mut change, "#Queue = :queue", ":queue", document.remove("Queue"));
    }
    if new.newest != expected.newest {
        match document.remove("Newest") {
            Some(newest) => set(&mut change, "#Newest = :newest", ":newest", Some(newest)),
            None => change.remove.push("#Newest"),
        }
    }
    set(&mut change, "#Fence = :fence", ":fence", document.remove("Fence"));
    set_expiry(&mut change, &mut document);
    change
}

fn set(change: &mut Change, clause: &str, key: &'static str, value: Option<Value>) {
    if let Some(value) = value {
        change.set.push(clause.to_owned());
        change.values.push((key, attribute(value)));
    }
}

/// An item that somebody holds or awaits has no expiry, whoever set one.
fn set_expiry(change: &mut Change, document: &mut Map) {
    match document.remove("ExpiresAt") {
        Some(at) => set(change, "#ExpiresAt = :expires", ":expires", Some(at)),
        None => change.remove.push("#ExpiresAt"),
    }
}
