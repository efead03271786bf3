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
