//! Names come from other people's jobs: what goes into a log must neither command it nor hide in it.

use std::borrow::Cow;

/// `text` as one line of a log may show it: what has power over a terminal or can't be seen ([`is_odd`]) is replaced.
/// So no escape sequence, no line break and no section marker of GitLab's can come of it.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains(is_odd) {
        Cow::Owned(text.chars().map(|c| if is_odd(c) { char::REPLACEMENT_CHARACTER } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a character ends a line, commands a terminal, turns the order of text around, or is nothing that can be seen.
/// (Unicode's categories Cc, Cf, Zl and Zp, and fillers. The joiners and variation selectors that scripts and pictures
/// are written with are left: a job may well be called `⚙️ deploy`.)
pub fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_section_markers_lose_their_power() {
        let evil = "x\u{1b}[0Ksection_end:1:a\r\u{1b}[31mred\nline\u{9b}31m\u{202e}";
        let said = clean(evil);
        assert!(!said.chars().any(char::is_control), "{said:?}");
        assert_eq!(said.matches('\u{fffd}').count(), 6, "{said:?}");
        assert_eq!(clean("größe · 1 日本 ⚙️ 👩‍💻"), "größe · 1 日本 ⚙️ 👩‍💻");
    }

    #[test]
    fn what_ends_a_line_turns_text_around_or_cannot_be_seen_is_shown() {
        for hidden in [
            '\u{2028}',
            '\u{2029}',
            '\u{85}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{61c}',
            '\u{2066}',
            '\u{2069}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{e0041}',
            '\u{3164}',
            '\u{115f}',
            '\u{1160}',
            '\u{180e}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1bca0}',
            '\u{1d173}',
        ] {
            let text = format!("prod{hidden}");
            assert_eq!(clean(&text), "prod\u{fffd}", "{hidden:?}");
        }
    }
}
