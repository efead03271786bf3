//! What an error's chain of causes says.

use std::error::Error;

use crate::lock::is_odd;

/// How much of somebody else's message is shown.
const SHOWN: usize = 300;

/// The text of the cause at the end of the chain: the others only say that something failed.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    one_line(&last.to_string())
}

/// The first line of a message, not too long, without characters that a terminal obeys or hides and the period at its end: more follows.
pub(super) fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim_end_matches('.');
    let printable = line.chars().filter(|c| !is_odd(*c));
    let mut shown: String = printable.take(SHOWN).collect();
    if line.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

/// The error of type `T` in a chain.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
