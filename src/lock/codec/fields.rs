//! Taking a stored map apart, attribute by attribute.

use super::{
    super::{Map, Token, Value},
    CodecError,
    error::damaged,
};

/// Takes known attributes out of a map, with their path for errors; what is left is unknown.
pub(super) struct Fields<'a> {
    map: &'a mut Map,
    at: String,
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a mut Map, at: &str) -> Self {
        Self { map, at: at.to_owned() }
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(super) fn wrong(&self, key: &str, problem: &'static str) -> CodecError {
        damaged(&self.path(key), problem)
    }

    pub(super) fn rest(&mut self) -> Map {
        std::mem::take(self.map)
    }

    pub(super) fn put_back(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "is no text")),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String, CodecError> {
        self.optional_text(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub(super) fn token(&mut self) -> Result<Token, CodecError> {
        self.text("Token")?.parse().map_err(|_| self.wrong("Token", "is no UUID"))
    }

    pub(super) fn optional_parsed<T: std::str::FromStr>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::N(digits)) => {
                digits.parse().map(Some).map_err(|_| self.wrong(key, "is a number out of range"))
            }
            Some(_) => Err(self.wrong(key, "is no number")),
        }
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Result<Option<u64>, CodecError> {
        self.optional_parsed(key)
    }

    /// A number that others count up from: half of its range must be left.
    pub(super) fn optional_counter(&mut self, key: &str) -> Result<Option<u64>, CodecError> {
        match self.optional_number(key)? {
            Some(n) if n > u64::MAX / 2 => Err(self.wrong(key, "is a number out of range")),
            n => Ok(n),
        }
    }

    pub(super) fn counter(&mut self, key: &str) -> Result<u64, CodecError> {
        self.optional_counter(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub(super) fn optional_bool(&mut self, key: &str) -> Result<Option<bool>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            Some(_) => Err(self.wrong(key, "is no truth value")),
        }
    }

    pub(super) fn optional_u32(&mut self, key: &str) -> Result<Option<u32>, CodecError> {
        self.optional_parsed(key)
    }

    pub(super) fn optional_signed(&mut self, key: &str) -> Result<Option<i32>, CodecError> {
        self.optional_parsed(key)
    }

    pub(super) fn number(&mut self, key: &str) -> Result<u64, CodecError> {
        self.optional_number(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub(super) fn optional_map(&mut self, key: &str) -> Result<Option<Map>, CodecError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::M(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(key, "is no map")),
        }
    }

    pub(super) fn entries<T>(
        &mut self,
        key: &str,
        decode: fn(&mut Fields<'_>) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        self.optional_entries(key, decode)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub(super) fn optional_entries<T>(
        &mut self,
        key: &str,
        decode: fn(&mut Fields<'_>) -> Result<T, CodecError>,
    ) -> Result<Option<Vec<T>>, CodecError> {
        let list = match self.map.remove(key) {
            Some(Value::L(list)) => list,
            Some(_) => return Err(self.wrong(key, "is no list")),
            None => return Ok(None),
        };
        let mut entries = Vec::with_capacity(list.len());
        for (i, entry) in list.into_iter().enumerate() {
            let path = self.path(&format!("{key}[{i}]"));
            let Value::M(mut map) = entry else { return Err(damaged(&path, "is no map")) };
            entries.push(decode(&mut Fields::new(&mut map, &path))?);
        }
        Ok(Some(entries))
    }
}
