//! Typed reading of the file's tree: sections with known keys, and values of one kind.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::duration::parse_duration;
use super::error::{Fault, Place, Problem};
use super::suggest::shown;
use super::words::Word;
use super::yaml::{Key, Node, Value};

/// What a section is: its name in messages and its keys.
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Other sections, whose keys people put here by mistake, and their keys.
    pub(super) inner: &'static [(&'static str, &'static [&'static str])],
}

/// The lines of a section's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyLines(BTreeMap<&'static str, u64>);

impl KeyLines {
    /// The line of `key`, if the section has it.
    pub(super) fn of(&self, key: &str) -> Option<u64> {
        self.0.get(key).copied()
    }
}

/// A map of the file, each key of which is known. Keys are taken out one by one.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) lines: KeyLines,
    name: &'static str,
    entries: Vec<(Key, Node)>,
}

/// A key's value.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: &'static str,
    pub(super) place: Place,
    pub(super) value: Value,
}

/// Where a key's value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    key: &'static str,
    place: Place,
}

impl Spot {
    /// The value there is no good for a reason that the message gives.
    pub(super) fn bad(self, why: impl Into<String>) -> Fault {
        Fault::new(self.place, Problem::Value { key: self.key, why: why.into() })
    }
}

impl Section {
    /// Takes `node` as a section: it is a map, and has no key that `schema` doesn't know.
    pub(super) fn open(node: Node, schema: &Schema) -> Result<Self, Fault> {
        let Value::Map(entries) = node.value else {
            let found = node.value.kind();
            return Err(Fault::new(
                node.place,
                Problem::WrongType { key: schema.name, wanted: "a map of keys and values", found },
            ));
        };
        for (key, _) in &entries {
            if !schema.keys.contains(&key.text.as_str()) {
                let belongs = schema.inner.iter().find(|(_, keys)| keys.contains(&key.text.as_str()));
                let problem = Problem::UnknownKey {
                    key: shown(&key.text),
                    within: schema.name,
                    known: schema.keys,
                    belongs: belongs.map(|(name, _)| *name),
                };
                return Err(Fault::new(key.place, problem));
            }
        }
        let line =
            |key: &&'static str| Some((*key, entries.iter().find(|(k, _)| k.text == **key)?.0.place.line));
        let lines = KeyLines(schema.keys.iter().filter_map(line).collect());
        Ok(Self { place: node.place, lines, name: schema.name, entries })
    }

    /// Takes the value of `key` out, if the key is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item> {
        let index = self.entries.iter().position(|(k, _)| k.text == key)?;
        let (_, node) = self.entries.swap_remove(index);
        Some(Item { key, place: node.place, value: node.value })
    }

    /// Takes the value of a key that has to be there.
    pub(super) fn need(&mut self, key: &'static str, example: &'static str) -> Result<Item, Fault> {
        let missing = Problem::Missing { key, within: self.name, example };
        self.take(key).ok_or_else(|| Fault::new(self.place, missing))
    }

    /// Takes the value of `key` out and reads it with `read`.
    pub(super) fn opt<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Item) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.take(key).map(read).transpose()
    }

    /// Of two keys that mean the same there is at most one.
    pub(super) fn either(&mut self, one: &'static str, other: &'static str) -> Result<Option<Item>, Fault> {
        match (self.take(one), self.take(other)) {
            (Some(_), Some(second)) => {
                Err(Fault::new(second.place, Problem::Both { within: self.name, one, other }))
            }
            (first, second) => Ok(first.or(second)),
        }
    }
}

impl Item {
    fn wrong(&self, wanted: &'static str) -> Fault {
        Fault::new(self.place, Problem::WrongType { key: self.key, wanted, found: self.value.kind() })
    }

    /// The value is no good for a reason that the message gives.
    pub(super) fn bad(&self, why: impl Into<String>) -> Fault {
        self.spot().bad(why)
    }

    /// Where the value stands, for a fault that is found once it has been read.
    pub(super) const fn spot(&self) -> Spot {
        Spot { key: self.key, place: self.place }
    }

    /// The node as it stands, for a section to be opened from.
    pub(super) fn into_node(self) -> Node {
        Node { place: self.place, value: self.value }
    }

    /// A text that isn't empty.
    pub(super) fn text(self) -> Result<String, Fault> {
        match self.value {
            Value::Text(ref text) if text.is_empty() => {
                Err(self.bad("is empty: give it a text, or drop the key"))
            }
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong("a text")),
        }
    }

    /// The items of a list, or the one value that stands in the place of a list.
    pub(super) fn one_or_many(self) -> Vec<Item> {
        let (key, place) = (self.key, self.place);
        match self.value {
            Value::List(nodes) => {
                nodes.into_iter().map(|node| Item { key, place: node.place, value: node.value }).collect()
            }
            value => vec![Item { key, place, value }],
        }
    }

    /// The items of a list.
    pub(super) fn list(self) -> Result<Vec<Item>, Fault> {
        if matches!(self.value, Value::List(_)) { Ok(self.one_or_many()) } else { Err(self.wrong("a list")) }
    }

    /// Texts, at least one: a list of them or one alone.
    pub(super) fn texts(self) -> Result<Vec<String>, Fault> {
        let empty = self.bad("the list is empty: name at least one, or drop the key");
        let texts = self.one_or_many().into_iter().map(Item::text).collect::<Result<Vec<_>, _>>()?;
        if texts.is_empty() { Err(empty) } else { Ok(texts) }
    }

    /// `true` or `false`.
    pub(super) fn truth(self) -> Result<bool, Fault> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(self, bounds: RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let (Value::Text(text) | Value::Number(text)) = &self.value else {
            return Err(self.wrong("a duration such as 500ms, 6s, 50m or 2h"));
        };
        let key = self.key;
        let value =
            parse_duration(text).map_err(|why| Fault::new(self.place, Problem::Duration { key, why }))?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = bounds.into_inner();
        Err(Fault::new(self.place, Problem::OutOfRange { key, value, least, most }))
    }

    /// A whole number within bounds.
    pub(super) fn whole<N: FromStr + PartialOrd + Into<i64>>(
        self,
        bounds: RangeInclusive<N>,
    ) -> Result<N, Fault> {
        let Value::Number(text) = &self.value else { return Err(self.wrong("a whole number")) };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong("a whole number"));
        }
        // A number that `N` can't hold is out of its bounds as well.
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| {
            let (least, most) = bounds.into_inner();
            let (least, most) = (least.into(), most.into());
            Fault::new(self.place, Problem::NotWithin { key: self.key, value: shown(text), least, most })
        })
    }

    /// One word out of those that `T` has.
    pub(super) fn word<T: Word>(self) -> Result<T, Fault> {
        let Value::Text(text) = &self.value else { return Err(self.wrong("a word")) };
        T::read(text).map_err(|why| self.bad(why))
    }

    /// An absolute path. Stages of one job run in folders of their own, so a relative one would name many.
    pub(super) fn path(self) -> Result<PathBuf, Fault> {
        let (key, place) = (self.key, self.place);
        let text = self.text()?;
        if Path::new(&text).is_absolute() && !text.contains('\0') {
            return Ok(PathBuf::from(text));
        }
        let why = format!(
            "{:?} is no absolute path: begin it with / (~ and variables are not expanded)",
            shown(&text)
        );
        Err(Fault::new(place, Problem::Value { key, why }))
    }
}
