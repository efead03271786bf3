//! Times for people.

use std::time::Duration;

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{client::humane, lock::EpochMs};

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

/// A time on the wall clock.
pub fn clock_time(at: EpochMs) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|t| t.format(FORMAT).ok())
        .unwrap_or_else(|| format!("{} ms after 1970", at.0))
}

/// How long ago `then` is at `now`, both on wall clocks (possibly of two hosts: for people only).
pub fn ago(then: EpochMs, now: EpochMs) -> String {
    match now.since(then) {
        d if d < Duration::from_secs(1) => "just now".into(),
        d => format!("{} ago", humane(d)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_for_people() {
        assert_eq!(clock_time(EpochMs(1_700_000_000_000)), "2023-11-14 22:13:20 UTC");
        assert_eq!(ago(EpochMs(1_000), EpochMs(76_000)), "1 min 15 s ago");
        assert_eq!(ago(EpochMs(5_000), EpochMs(1_000)), "just now");
    }
}
