//! Foldable sections of a GitLab job log.

use std::fmt;

/// A section's marker line. The name is fixed by us; the header is what people see.
#[derive(Clone, Copy, Debug)]
pub enum Section<'a> {
    /// Opens a section.
    Start {
        /// Its name, of letters, digits and `_`.
        name: &'a str,
        /// Its time, in seconds since 1970.
        at: u64,
        /// The line that stays visible when it is folded.
        header: &'a str,
    },
    /// Closes it.
    End {
        /// Its name.
        name: &'a str,
        /// Its time, in seconds since 1970.
        at: u64,
    },
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { name, at, header } => {
                write!(f, "\x1b[0Ksection_start:{at}:{name}\r\x1b[0K{header}")
            }
            Self::End { name, at } => write!(f, "\x1b[0Ksection_end:{at}:{name}\r\x1b[0K"),
        }
    }
}
