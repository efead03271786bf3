//! Names come from other people's jobs: what goes into a log must not command it.

use std::borrow::Cow;

/// `text` without control characters: no escape sequence, no line break and no section marker of GitLab's can
/// come of it.
pub fn clean(text: &str) -> Cow<'_, str> {
    let odd = |c: char| c.is_control() || is_direction_mark(c);
    if text.contains(odd) {
        Cow::Owned(text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Marks that make a terminal show text in another order than it has.
const fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_section_markers_lose_their_power() {
        let evil = "x\u{1b}[0Ksection_end:1:a\r\u{1b}[31mred\nline\u{202e}";
        let said = clean(evil);
        assert!(!said.chars().any(char::is_control), "{said:?}");
        assert_eq!(clean("größe · 1"), "größe · 1");
    }
}
