//! YAML text as a tree in which everything knows its place.
//!
//! The tree comes first and the types after it, so that each error can name its key, its place and the nearest
//! right key; an error out of the middle of a derived deserializer knows less.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::{Fault, Place, Problem};
use super::suggest::shown;

/// A value of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A map's key and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Value {
    /// What a message calls it.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Null => "empty".to_owned(),
            Self::Bool(value) => format!("the truth value `{value}` (put a text in quotes)"),
            Self::Number(value) => format!("the number {value} (put a text in quotes)"),
            Self::Text(value) => format!("the text \"{}\"", shown(value)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map of keys and values (put a text that begins with `{` in quotes)".to_owned(),
        }
    }
}

/// Reads one YAML document. Nothing at all is an empty map: a file of comments is one with all defaults.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 1_000,
        },
    };
    match serde_saphyr::from_str_with_options::<Option<Node>>(text, options) {
        Ok(node) => Ok(node.unwrap_or(Node { place: Place::default(), value: Value::Map(Vec::new()) })),
        Err(error) => {
            let place = error.location().map(Place::from).unwrap_or_default();
            Err(Fault::new(place, Problem::Syntax(syntax(&error, place))))
        }
    }
}

/// What the parser found, in the words of whoever writes the file.
fn syntax(error: &serde_saphyr::Error, place: Place) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            format!("the key `{}` is there twice: keep one", shown(key.as_deref().unwrap_or_default()))
        }
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "a second document begins here: keep one in a file".to_owned()
        }
        serde_saphyr::Error::UnknownAnchor { .. } => {
            "`*` here refers to an anchor that is not defined; put a text that begins with `*` in quotes"
                .to_owned()
        }
        other => {
            let message = other.to_string();
            // The place stands in front of our message already.
            let place_again = format!(" at line {}, column {}", place.line, place.column);
            one_line(message.strip_suffix(&place_again).unwrap_or(&message))
        }
    }
}

/// The parser's message on one line, without what could play tricks on a terminal.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).map(clean).collect::<Vec<_>>().join("; ")
}

fn clean(line: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    line.chars().take(300).map(escape).collect()
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a truth value, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Node>()? {
            let text = match key.value {
                Value::Text(text) | Value::Number(text) => text,
                Value::Bool(value) => value.to_string(),
                other => {
                    return Err(A::Error::custom(format!("a key is to be a word, but is {}", other.kind())));
                }
            };
            map.push((Key { place: key.place, text }, entries.next_value::<Node>()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(line: u64, column: u64) -> Place {
        Place { line, column }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let Value::Map(map) = parse("a: 1\nlist:\n  - x\n  - {b: true}\n").unwrap().value else { panic!() };
        assert_eq!((map[1].0.place, map[1].0.text.as_str()), (at(2, 1), "list"));
        let Value::List(list) = &map[1].1.value else { panic!() };
        assert_eq!(list[0], Node { place: at(3, 5), value: Value::Text("x".into()) });
        let Value::Map(inner) = &list[1].value else { panic!() };
        assert_eq!((inner[0].0.place, inner[0].1.place), (at(4, 6), at(4, 9)));
    }

    #[test]
    fn nothing_and_comments_are_an_empty_map() {
        for text in ["", "\n", "# only this\n", "---\n", "---\n# x\n...\n"] {
            let value = parse(text).map(|node| node.value);
            assert!(matches!(&value, Ok(Value::Map(map)) if map.is_empty()), "{text:?}: {value:?}");
        }
    }

    #[test]
    fn broken_yaml_says_where() {
        let fault = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(fault.place.line >= 2, "{fault:?}");
        assert!(matches!(fault.problem, Problem::Syntax(_)));
    }

    #[test]
    fn a_key_given_twice_is_an_error_at_its_place() {
        let fault = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(fault.place.line, 2, "{fault:?}");
        assert!(fault.problem.to_string().contains("`a` is there twice"), "{}", fault.problem);
    }

    #[test]
    fn a_second_document_is_an_error() {
        let fault = parse("a: 1\n---\nb: 2\n").unwrap_err();
        assert!(fault.problem.to_string().contains("second document"), "{}", fault.problem);
    }

    #[test]
    fn a_glob_without_quotes_says_that_it_needs_them() {
        let problem = parse("ref: *main\n").unwrap_err().problem.to_string();
        assert!(problem.contains("in quotes"), "{problem}");
    }

    #[test]
    fn the_old_truth_words_are_texts() {
        let Value::Map(map) = parse("a: no\n").unwrap().value else { panic!() };
        assert_eq!(map[0].1.value, Value::Text("no".into()));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text).map_err(|fault| fault.problem.to_string());
        }
    }
}
