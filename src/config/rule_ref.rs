//! How messages name a rule.

use std::fmt;

use super::settings::Source;

/// A rule, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// Its place among the rules, from 0.
    pub index: usize,
    /// The line at which it begins; none for the built-in rule.
    pub line: Option<u64>,
    /// The configuration that it is in.
    pub source: Source,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "rule {} ({}, line {line})", self.index + 1, self.source),
            None => write!(f, "the default rule ({})", self.source),
        }
    }
}
