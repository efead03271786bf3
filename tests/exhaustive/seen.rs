//! What a client has seen of the others: the core's [`Watch`], and what of it makes a difference later.

use std::rc::Rc;

use pipeline_lock::lock::{LockState, Watch};

use crate::model::moment;

/// A watch, and the numbers in it as they are shown. They are read when it changes, as that is seldom.
#[derive(Clone, Default)]
pub struct Seen {
    watch: Watch,
    numbers: Rc<[Number]>,
}

/// A number of a watch.
#[derive(Clone, Copy)]
pub enum Number {
    Moment(u64),
    Rev(u64),
    Fence(u64),
    Beat(u64),
    /// The number of a token's UUID.
    Token(u64),
    Missed(u64),
}

impl Seen {
    pub fn observe(&mut self, state: &LockState, seconds: u64) {
        self.watch.observe(state, moment(seconds));
        self.numbers = numbers(&format!("{:?}", self.watch)).into();
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    pub fn numbers(&self) -> &[Number] {
        &self.numbers
    }
}

/// What a watch has inside is its own business; how it is shown tells. When it first saw these holders is left out:
/// that only decides how often it looks.
fn numbers(shown: &str) -> Vec<Number> {
    let shown = shown.split(", holders: ").next().unwrap_or(shown);
    let mut numbers = Vec::new();
    // Each number stands behind `Name(` or `name: `, a moment's seconds before their unit.
    for (at, _) in shown.match_indices(['(', ' ']) {
        let name =
            shown[..at].trim_end_matches(':').rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or("");
        let rest = &shown[at + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let decimal = || rest[..digits].parse().expect("a number");
        numbers.push(match name {
            "Moment" => Number::Moment(decimal()),
            "Rev" => Number::Rev(decimal()),
            "Fence" => Number::Fence(decimal()),
            "Beat" => Number::Beat(decimal()),
            "Token" => Number::Token(last_hexadecimal(rest)),
            "missed" => Number::Missed(decimal()),
            _ => continue,
        });
    }
    numbers
}

/// The last group of the UUID that `text` begins with.
fn last_hexadecimal(text: &str) -> u64 {
    let uuid = text.split(')').next().unwrap_or(text);
    u64::from_str_radix(uuid.rsplit('-').next().unwrap_or(uuid), 16).expect("a UUID")
}
