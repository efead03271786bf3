//! Durations as people write them: `500ms`, `6s`, `50m`, `2h`.

use std::time::Duration;

use thiserror::Error;

use super::suggest::shown;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// A number stands alone. Add the unit that is meant.
    #[error("{0} has no unit: write {0}s, {0}m or {0}h")]
    NoUnit(String),
    /// The text is neither of `500ms`, `6s`, `50m`, `2h`.
    #[error("{0:?} is no duration: write a whole number and one of the units ms, s, m, h, for example 90s")]
    Malformed(String),
    /// The number is too large to be a time at all.
    #[error("{0:?} is longer than any time that can be kept")]
    Overflow(String),
}

/// Reads a whole number followed by one unit, `ms`, `s`, `m` or `h`.
///
/// The text is one that a person wrote, so a missing unit is an error of its own and never a guess.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Malformed(shown(text)));
    }
    let millis_per_unit: u64 = match unit {
        // Nothing is nothing in every unit.
        "" if number.bytes().all(|digit| digit == b'0') => 1,
        "" => return Err(DurationError::NoUnit(shown(number))),
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(DurationError::Malformed(shown(text))),
    };
    let number: u64 = number.parse().map_err(|_| DurationError::Overflow(shown(text)))?;
    let millis = number.checked_mul(millis_per_unit);
    millis.map(Duration::from_millis).ok_or_else(|| DurationError::Overflow(shown(text)))
}

/// Writes a duration in the largest unit that keeps it whole, so that [`parse_duration`] reads it back.
/// What is finer than a millisecond is dropped.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_four_units_are_read() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("6s"), Ok(Duration::from_secs(6)));
        assert_eq!(parse_duration("50m"), Ok(Duration::from_secs(3_000)));
        assert_eq!(parse_duration(" 2h "), Ok(Duration::from_secs(7_200)));
    }

    #[test]
    fn a_bare_number_is_refused_with_the_units_that_it_may_mean() {
        let error = parse_duration("60").unwrap_err();
        assert_eq!(error.to_string(), "60 has no unit: write 60s, 60m or 60h");
    }

    #[test]
    fn signs_fractions_and_compounds_are_no_durations() {
        for text in ["", "s", "-1s", "1.5h", "1h30m", "1 h", "1sec", "٣s", "1e3s"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn what_no_clock_can_count_is_refused() {
        for text in ["99999999999999999999s", "18446744073709551615h"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Overflow(_))), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0u64..=1 << 50) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse_duration(&text).map_err(|error| error.to_string());
        }
    }
}
