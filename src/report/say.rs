//! What goes to standard output or standard error, whether or not anybody still reads it.

use std::io::{self, Write};

/// A line to standard output. A reader that has gone (`status | head`) is no fault of ours, and no reason to panic.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line to standard error, likewise.
pub fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
