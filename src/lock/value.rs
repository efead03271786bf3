//! The neutral form of a stored document: DynamoDB's value types, whichever store keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The attributes of an item, or of a map inside it.
pub type Map = BTreeMap<String, Value>;

/// One attribute value. The names are DynamoDB's, and so is the JSON form that the local store writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Text.
    S(String),
    /// A number, as DynamoDB carries it: in decimal digits.
    N(String),
    /// A truth value.
    #[serde(rename = "BOOL")]
    Bool(bool),
    /// Nothing.
    #[serde(rename = "NULL")]
    Null(bool),
    /// A list.
    L(Vec<Value>),
    /// A map.
    M(Map),
    /// Bytes.
    B(Vec<u8>),
    /// A set of texts.
    #[serde(rename = "SS")]
    Ss(Vec<String>),
    /// A set of numbers.
    #[serde(rename = "NS")]
    Ns(Vec<String>),
    /// A set of byte strings.
    #[serde(rename = "BS")]
    Bs(Vec<Vec<u8>>),
}

impl Value {
    /// A number.
    pub fn number(n: impl ToString) -> Self {
        Self::N(n.to_string())
    }

    /// The size that DynamoDB counts for this value, in bytes (lists and maps: 3, and 1 an entry).
    pub fn size(&self) -> usize {
        match self {
            Self::S(s) => s.len(),
            Self::N(n) => n.len() / 2 + 2,
            Self::Bool(_) | Self::Null(_) => 1,
            Self::L(list) => 3 + list.iter().map(|v| 1 + v.size()).sum::<usize>(),
            Self::M(map) => 3 + map.iter().map(|(k, v)| 1 + k.len() + v.size()).sum::<usize>(),
            Self::B(b) => b.len(),
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(|n| n.len() / 2 + 2).sum(),
            Self::Bs(set) => set.iter().map(Vec::len).sum(),
        }
    }
}
