//! What a lock may be called.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::is_odd;

/// The longest name of a lock, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// A valid lock name: 1 to [`MAX_NAME_BYTES`] bytes, no control characters or invisible ones, no white space at its
/// ends.
///
/// The name is the partition key of the lock's item, a file name's source and a line of the job log, so it
/// is checked once, where it enters, and trusted afterwards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LockName(String);

/// Why a text is no lock name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty. Give the lock a name.
    #[error("a lock's name is empty")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`] bytes. Shorten it, or let a template's filter do so.
    #[error("a lock's name is {bytes} bytes long, {MAX_NAME_BYTES} are allowed: {start}…")]
    TooLong {
        /// The length that was refused, in bytes.
        bytes: usize,
        /// How the name begins.
        start: String,
    },
    /// The text has a control character (a line break, an escape) or one that can't be seen. Remove it.
    #[error(
        "a lock's name has the character {character} in it, which can't be seen or commands a terminal: {name}"
    )]
    Control {
        /// The character, escaped.
        character: String,
        /// The name, escaped.
        name: String,
    },
    /// The text begins or ends with white space. Remove it.
    #[error("a lock's name begins or ends with white space: {0:?}")]
    Padded(String),
}

impl LockName {
    /// Checks `text` and takes it as a lock's name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            let start = text.chars().take(40).map(shown).collect();
            return Err(NameError::TooLong { bytes: text.len(), start });
        }
        if let Some(c) = text.chars().find(|c| is_odd(*c)) {
            let name = text.chars().map(shown).collect();
            return Err(NameError::Control { character: shown(c), name });
        }
        if text.trim() != text {
            return Err(NameError::Padded(text));
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A character as a message shows it.
fn shown(c: char) -> String {
    if is_odd(c) { c.escape_default().to_string() } else { c.to_string() }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockName({:?})", self.0)
    }
}

impl TryFrom<String> for LockName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<LockName> for String {
    fn from(name: LockName) -> Self {
        name.0
    }
}

impl std::str::FromStr for LockName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_unicode_is_a_name() {
        assert_eq!(LockName::new("gitlab.example/größe/prod").unwrap().as_str(), "gitlab.example/größe/prod");
    }

    #[test]
    fn the_limit_counts_bytes_not_characters() {
        assert!(LockName::new("ü".repeat(127)).is_ok());
        assert!(matches!(LockName::new("ü".repeat(128)), Err(NameError::TooLong { bytes: 256, .. })));
    }

    #[test]
    fn control_characters_are_refused_and_shown_escaped() {
        let error = LockName::new("a\u{1b}[31mb").unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        assert!(matches!(LockName::new("a\nb"), Err(NameError::Control { .. })));
    }

    #[test]
    fn two_names_that_look_the_same_are_the_same() {
        let error = LockName::new("prod\u{200b}").unwrap_err();
        assert!(error.to_string().contains("\\u{200b}"), "{error}");
        for odd in ["a\u{202e}b", "a\u{2028}b", "a\u{feff}b", "a\u{ad}b"] {
            assert!(matches!(LockName::new(odd), Err(NameError::Control { .. })), "{odd:?}");
        }
    }

    #[test]
    fn empty_and_padded_names_are_refused() {
        assert_eq!(LockName::new(""), Err(NameError::Empty));
        assert!(matches!(LockName::new(" a"), Err(NameError::Padded(_))));
    }
}
