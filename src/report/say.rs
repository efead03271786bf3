//! What goes to standard output or standard error, whether or not anybody still reads it.

use std::io::{self, Write};

use crate::lock::clean;

/// A line to standard output. A reader that has gone (`status | head`) is no fault of ours, and no reason to panic.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A message to standard error, likewise. Texts of others may be part of it (an error quotes what it found), so what
/// they could do to a terminal is taken from each of its lines.
pub fn warn(message: &str) {
    let lines: Vec<_> = message.lines().map(clean).collect();
    let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
}

/// An error with its causes, each once: some say theirs within their own text, as more follows there.
pub fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.contains(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no folder ({source}); make one")]
    struct Telling {
        source: io::Error,
    }

    #[test]
    fn each_cause_is_told_once() {
        let error = anyhow::Error::from(Telling { source: io::Error::other("it is a file") });
        assert_eq!(with_causes(&error), "no folder (it is a file); make one");
        let error =
            anyhow::Error::from(io::Error::other("it is a file")).context("no folder").context("no keeper");
        assert_eq!(with_causes(&error), "no keeper: no folder: it is a file");
    }
}
