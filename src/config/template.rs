//! Templates of lock names: `{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_ENVIRONMENT_NAME|slug}`.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::suggest::{hint, shown};

/// The longest template, in bytes. A lock's name has at most 255.
const MAX_TEMPLATE_BYTES: usize = 2_000;

/// A template that has been read. `{{` and `}}` stand for the braces themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it stands.
    Text(String),
    /// A variable to be put in, and what is done to its value, in order.
    Variable { name: String, filters: Vec<Filter> },
}

/// What is done to a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// As GitLab's own slugs: lower case, all but a-z and 0-9 replaced by `-`, none of them at the ends, at
    /// most 63 bytes.
    Slug,
    /// Lower case.
    Lower,
    /// The first 12 digits of the value's SHA-256.
    Hash,
    /// This text where there is no value, or an empty one.
    Default(String),
}

const FILTERS: &[&str] = &["slug", "lower", "hash", "default:TEXT"];

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the template \"{template}\" is wrong at its character {at}: {why}")]
pub struct TemplateError {
    /// The template, as shown.
    pub template: String,
    /// The character, counted from 1.
    pub at: usize,
    /// What is wrong there, and what would do.
    pub why: String,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let error = |byte: usize, why: String| TemplateError {
            template: shown(text),
            at: text.get(..byte).map_or(1, |before| before.chars().count() + 1),
            why,
        };
        if text.is_empty() {
            return Err(error(0, "it is empty: write a name".to_owned()));
        }
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(error(MAX_TEMPLATE_BYTES, format!("it is longer than {MAX_TEMPLATE_BYTES} bytes")));
        }
        if let Some(at) = text.find(char::is_control) {
            return Err(error(at, "a name has no control characters (line breaks, tabs)".to_owned()));
        }
        let parts = parse_parts(text).map_err(|(byte, why)| error(byte, why))?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Puts the name together. `value` gives a variable's value; a variable without one, or whose filters
    /// leave nothing, is handed to `missing`.
    pub(super) fn expand<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Option<String>, E>,
        missing: impl Fn(&str) -> E,
    ) -> Result<String, E> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Variable { name: variable, filters } => {
                    let filtered = filters.iter().fold(value(variable)?, |value, filter| filter.apply(value));
                    let filled = filtered.filter(|value| !value.is_empty());
                    name.push_str(&filled.ok_or_else(|| missing(variable))?);
                }
            }
        }
        Ok(name)
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "slug" => Ok(Self::Slug),
            "lower" => Ok(Self::Lower),
            "hash" => Ok(Self::Hash),
            _ => match text.strip_prefix("default:") {
                Some("") => {
                    Err("`default:` is followed by the text to use, for example `|default:none`".to_owned())
                }
                Some(default) => Ok(Self::Default(default.to_owned())),
                None => Err(format!("the filter `{}` is not known; {}", shown(text), hint(text, FILTERS))),
            },
        }
    }

    fn apply(&self, value: Option<String>) -> Option<String> {
        match (self, value.filter(|value| !value.is_empty())) {
            (Self::Default(text), None) => Some(text.clone()),
            (_, None) => None,
            (Self::Default(_), value) => value,
            (Self::Lower, Some(value)) => Some(value.to_lowercase()),
            (Self::Slug, Some(value)) => Some(slug(&value)),
            (Self::Hash, Some(value)) => Some(hash(&value)),
        }
    }
}

fn slug(value: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let lower: String = value.to_lowercase().chars().map(keep).take(63).collect();
    lower.trim_matches('-').to_owned()
}

fn hash(value: &str) -> String {
    Sha256::digest(value.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The parts, or the byte at which reading failed and why.
fn parse_parts(text: &str) -> Result<Vec<Part>, (usize, String)> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let at = text.len() - rest.len() + brace;
        plain.push_str(&rest[..brace]);
        let opened = &rest[brace..];
        if opened.starts_with("{{") || opened.starts_with("}}") {
            plain.push_str(&opened[..1]);
            rest = &opened[2..];
            continue;
        }
        let Some(inner) = opened.strip_prefix('{') else {
            return Err((at, "a `}` without its `{`: write `}}` for the brace itself".to_owned()));
        };
        let Some(end) = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with('}')) else {
            return Err((
                at,
                "this `{` is never closed: close it with `}`, or write `{{` for the brace itself".to_owned(),
            ));
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(parse_variable(&inner[..end], at + 1)?);
        rest = &inner[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// What stands between the braces. `at` is its first byte.
fn parse_variable(inner: &str, at: usize) -> Result<Part, (usize, String)> {
    let mut pieces = inner.split('|');
    let name = pieces.next().unwrap_or_default();
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let why = "between `{` and `}` stands a variable's name, for example {CI_PROJECT_PATH}";
        return Err((at, format!("{why}, not `{}`", shown(name))));
    }
    let mut filters = Vec::new();
    let mut offset = at + name.len() + 1;
    for piece in pieces {
        filters.push(Filter::parse(piece).map_err(|why| (offset, why))?);
        offset += piece.len() + 1;
    }
    Ok(Part::Variable { name: name.to_owned(), filters })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(template: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let value = |name: &str| {
            Ok(variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        Template::parse(template).map_err(|error| error.to_string())?.expand(value, str::to_owned)
    }

    #[test]
    fn variables_and_text_make_the_name() {
        let variables = [("A", "x"), ("B_2", "y/z")];
        assert_eq!(expand("p/{A}/{B_2}-{A}", &variables), Ok("p/x/y/z-x".into()));
        assert_eq!(expand("{{{A}}}", &variables), Ok("{x}".into()));
    }

    #[test]
    fn filters_work_from_left_to_right() {
        let variables = [("E", "Review/Größe 2!"), ("S", "---")];
        assert_eq!(expand("{E|lower}", &variables), Ok("review/größe 2!".into()));
        assert_eq!(expand("{E|slug}", &variables), Ok("review-gr--e-2".into()));
        assert_eq!(expand("{M|default:None|lower}", &variables), Ok("none".into()));
        assert_eq!(expand("{M|lower|default:None}", &variables), Ok("None".into()));
        assert_eq!(expand("{S|slug|default:x}", &variables), Ok("x".into()));
    }

    #[test]
    fn a_hash_is_the_start_of_the_sha256_that_anyone_can_compute() {
        assert_eq!(expand("{A|hash}", &[("A", "abc")]), Ok("ba7816bf8f01".into()));
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        assert_eq!(expand("{A}", &[("A", "{B}}{"), ("B", "x")]), Ok("{B}}{".into()));
    }

    #[test]
    fn a_missing_or_empty_variable_is_named() {
        assert_eq!(expand("x/{NOPE}", &[]), Err("NOPE".into()));
        assert_eq!(expand("x/{A}", &[("A", "")]), Err("A".into()));
        assert_eq!(expand("x/{A|slug}", &[("A", "---")]), Err("A".into()));
    }

    #[test]
    fn a_broken_template_says_where_and_what_would_do() {
        let cases = [
            ("", 1, "empty"),
            ("ä{CI_X", 2, "never closed"),
            ("a{A{B}}", 2, "never closed"),
            ("a}b", 2, "write `}}`"),
            ("{}", 2, "variable's name"),
            ("{1A}", 2, "variable's name"),
            ("{A |slug}", 2, "variable's name"),
            ("{A|slgu}", 4, "did you mean `slug`?"),
            ("{A|slug|default:}", 9, "followed by the text"),
            ("a\tb", 2, "control"),
        ];
        for (text, at, part) in cases {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text:?}: {error}");
            assert!(error.to_string().contains(part), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}|:A-c/ é\n]{0,40}|\\PC{0,40}") {
            let expanded = expand(&text, &[("A", "v"), ("B", "w/")]);
            prop_assert!(expanded.is_ok() || expanded.is_err_and(|error| !error.is_empty()));
        }

        #[test]
        fn escaped_text_stands_for_itself(text in "[^\\p{C}]{1,40}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(expand(&escaped, &[]), Ok(text));
        }
    }
}
