//! How a wrong word is shown, and which right one it was probably meant to be.

/// How many characters of somebody's text a message shows.
const SHOWN: usize = 80;

/// `text` as a message may show it: control characters escaped, cut when long.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// The word of `known` that is nearest to `word`, if one is near enough to have been meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Words longer than any of ours are never near, and comparing them would cost their length squared.
    if word.len() > 2 * SHOWN {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let near = |candidate: &str| {
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        (distance <= candidate.len().div_ceil(3)).then_some(distance)
    };
    known.iter().filter_map(|&k| near(k).map(|d| (d, k))).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// `a`, `b` or `c`: the words that a message offers.
pub(super) fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// The tail of a message about an unknown word: the nearest right one, else all of them.
pub(super) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", one_of(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let known = ["lease", "heartbeat", "wait", "kill_grace"];
        assert_eq!(nearest("heartbaet", &known), Some("heartbeat"));
        assert_eq!(nearest("kill-grace", &known), Some("kill_grace"));
        assert_eq!(nearest("Lease", &known), Some("lease"));
    }

    #[test]
    fn a_word_that_is_near_to_none_gets_the_list() {
        assert_eq!(hint("colour", &["lease", "wait"]), "known here: `lease` or `wait`");
        assert_eq!(nearest(&"x".repeat(1_000_000), &["lease"]), None);
    }

    #[test]
    fn what_is_shown_has_no_control_characters_and_an_end() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert!(shown(&"é".repeat(1_000)).chars().count() <= SHOWN + 1);
    }
}
