//! What a job asks for by its variables: PIPELINE_LOCK and those that begin with PIPELINE_LOCK_.

use std::collections::BTreeSet;
use std::time::Duration;

use super::duration::parse_duration;
use super::policy_error::PolicyError;
use super::rule::MAX_LOCKS;
use super::suggest::{nearest, shown};
use super::variables::JobVariables;
use super::words::{OnTimeout, Release, Scope, Word};
use crate::lock::{Mode, PRIORITIES};

pub(super) const NAMES: &str = "PIPELINE_LOCK";
pub(super) const WAIT: &str = "PIPELINE_LOCK_WAIT";
pub(super) const MODE: &str = "PIPELINE_LOCK_MODE";
pub(super) const PRIORITY: &str = "PIPELINE_LOCK_PRIORITY";
pub(super) const SCOPE: &str = "PIPELINE_LOCK_SCOPE";
pub(super) const ON_TIMEOUT: &str = "PIPELINE_LOCK_ON_TIMEOUT";
pub(super) const RELEASE: &str = "PIPELINE_LOCK_RELEASE";
pub(super) const PARENT: &str = "PIPELINE_LOCK_PARENT";

pub(super) const OURS: &[&str] = &[NAMES, WAIT, MODE, PRIORITY, SCOPE, ON_TIMEOUT, RELEASE, PARENT];

/// Where a job's script finds what it has got: names, fences, slots and resources. Nobody asks by these.
pub const FOR_SCRIPTS: [&str; 4] =
    ["PIPELINE_LOCK_NAME", "PIPELINE_LOCK_FENCE", "PIPELINE_LOCK_SLOT", "PIPELINE_LOCK_RESOURCE"];

/// What the job asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) locks: Option<AskedLocks>,
    pub(super) wait: Option<Duration>,
    pub(super) mode: Option<Mode>,
    pub(super) priority: Option<i32>,
    pub(super) scope: Option<Scope>,
    pub(super) on_timeout: Option<OnTimeout>,
    pub(super) release: Option<Release>,
    pub(super) parent: Option<u64>,
    /// What the author should know: variables that look like ours and aren't.
    pub(super) notes: Vec<String>,
}

/// The locks that the job asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedLocks {
    /// None at all.
    OptOut,
    /// These, at least one, no two the same.
    Names(Vec<String>),
}

impl Ask {
    pub(super) fn read(variables: &JobVariables) -> Result<Self, PolicyError> {
        let wait = |text: &str| parse_duration(text).map_err(|why| why.to_string());
        Ok(Self {
            locks: read(variables, NAMES, read_names)?,
            wait: read(variables, WAIT, wait)?,
            mode: read(variables, MODE, Mode::read)?,
            priority: read(variables, PRIORITY, read_priority)?,
            scope: read(variables, SCOPE, Scope::read)?,
            on_timeout: read(variables, ON_TIMEOUT, OnTimeout::read)?,
            release: read(variables, RELEASE, Release::read)?,
            parent: read(variables, PARENT, read_parent)?,
            notes: variables.names_from(NAMES).filter_map(note).collect(),
        })
    }
}

/// The pipeline whose holds the job's pipeline is to share, as its author says (`PIPELINE_LOCK_PARENT`).
///
/// # Errors
/// [`PolicyError::Variable`]: the value is no pipeline's id.
pub fn asked_parent(variables: &JobVariables) -> Result<Option<u64>, PolicyError> {
    read(variables, PARENT, read_parent)
}

fn read<T>(
    variables: &JobVariables,
    variable: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, PolicyError> {
    let checked = variables.get(variable).map_err(|_| "its value is not text (UTF-8)".to_owned());
    let parsed = checked.and_then(|value| value.map(|value| parse(checked_text(value)?)).transpose());
    parsed.map_err(|why| PolicyError::Variable { variable, why })
}

fn checked_text(value: &str) -> Result<&str, String> {
    if let Some(c) = value.chars().find(|c| c.is_control()) {
        return Err(format!("has the control character {} in it: {}", c.escape_default(), shown(value)));
    }
    match value.trim() {
        "" => Err("is set but empty: drop it or give it a value".to_owned()),
        value => Ok(value),
    }
}

fn read_names(value: &str) -> Result<AskedLocks, String> {
    if value == "none" {
        return Ok(AskedLocks::OptOut);
    }
    let names: Vec<&str> = value.split(',').map(str::trim).collect();
    if names.iter().all(|name| name.is_empty()) {
        return Err(format!("`{}` has only commas in it: name a lock, or write `none`", shown(value)));
    }
    if names.len() > MAX_LOCKS {
        return Err(format!("has {} names; a job can have at most {MAX_LOCKS} locks", names.len()));
    }
    let mut seen = BTreeSet::new();
    for name in &names {
        if name.is_empty() {
            return Err(format!("`{}` has an empty name in it: remove the extra comma", shown(value)));
        }
        if name.eq_ignore_ascii_case("none") {
            return Err(format!("`{name}` is no lock's name: `none` stands alone and in lower case"));
        }
        if !seen.insert(name) {
            return Err(format!("names `{}` twice: name each lock once", shown(name)));
        }
    }
    Ok(AskedLocks::Names(names.into_iter().map(str::to_owned).collect()))
}

fn read_priority(value: &str) -> Result<i32, String> {
    let (least, most) = (PRIORITIES.start(), PRIORITIES.end());
    let priority = value.parse().ok().filter(|priority| PRIORITIES.contains(priority));
    priority
        .ok_or_else(|| format!("is to be a whole number from {least} to {most}, but is `{}`", shown(value)))
}

fn read_parent(value: &str) -> Result<u64, String> {
    let id = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    id.filter(|id| *id > 0).ok_or_else(|| {
        format!(
            "is to be the id of the parent pipeline, a whole number above 0, but is `{}`: the job that triggers the \
             child pipeline gives it on by `variables: {{ PIPELINE_LOCK_PARENT: $CI_PIPELINE_ID }}`",
            shown(value)
        )
    })
}

/// What to tell the author of a variable that looks like one of ours.
fn note(variable: &str) -> Option<String> {
    if OURS.contains(&variable) || !variable[NAMES.len()..].starts_with('_') {
        return None;
    }
    if FOR_SCRIPTS.contains(&variable) {
        return Some(format!(
            "the variable {variable} has no effect: the job's script finds there what it got; {NAMES} asks for locks"
        ));
    }
    let meant = nearest(variable, OURS).map(|ours| format!("; did you mean {ours}?"));
    Some(format!("the variable {} has no effect{}", shown(variable), meant.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(variables: &[(&str, &str)]) -> Result<Ask, String> {
        Ask::read(&variables.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_stand_between_commas() {
        let names = |names: &[&str]| Some(AskedLocks::Names(names.iter().map(|&name| name.into()).collect()));
        assert_eq!(ask(&[("PIPELINE_LOCK", " a , b/c ")]).unwrap().locks, names(&["a", "b/c"]));
        assert_eq!(ask(&[("PIPELINE_LOCK", "none")]).unwrap().locks, Some(AskedLocks::OptOut));
        assert_eq!(ask(&[]), Ok(Ask::default()));
    }

    #[test]
    fn odd_values_are_clear_errors() {
        for (value, part) in [
            ("", "set but empty"),
            ("  ", "set but empty"),
            (", ,", "only commas"),
            ("a,,b", "extra comma"),
            ("a,", "extra comma"),
            ("a,b,a", "names `a` twice"),
            ("a,none", "stands alone"),
            ("None", "lower case"),
            ("a\nb", "control character \\n"),
            ("a\u{1b}[2J", "\\u{1b}"),
        ] {
            let error = ask(&[("PIPELINE_LOCK", value)]).unwrap_err();
            assert!(error.starts_with("PIPELINE_LOCK: ") && error.contains(part), "{value:?}: {error}");
            assert!(!error.contains(char::is_control), "{value:?}: {error:?}");
        }
        let many = vec!["x"; 17].join(",");
        assert!(ask(&[("PIPELINE_LOCK", &many)]).unwrap_err().contains("at most 16"));
    }

    #[test]
    fn wait_and_mode_are_read_and_checked() {
        let asked = ask(&[("PIPELINE_LOCK_WAIT", "90s"), ("PIPELINE_LOCK_MODE", "exclusive")]).unwrap();
        assert_eq!((asked.wait, asked.mode), (Some(Duration::from_secs(90)), Some(Mode::Exclusive)));
        assert!(ask(&[("PIPELINE_LOCK_WAIT", "90")]).unwrap_err().contains("90s, 90m or 90h"));
        assert!(
            ask(&[("PIPELINE_LOCK_MODE", "exclusiv")]).unwrap_err().contains("did you mean `exclusive`?")
        );
    }

    #[test]
    fn every_variable_is_read() {
        let asked = ask(&[
            (PRIORITY, "-7"),
            (SCOPE, "pipeline"),
            (ON_TIMEOUT, "requeue"),
            (RELEASE, "after"),
            (PARENT, "90400"),
            (WAIT, "0"),
        ]);
        let wanted = Ask {
            priority: Some(-7),
            scope: Some(Scope::Pipeline),
            on_timeout: Some(OnTimeout::Requeue),
            release: Some(Release::After),
            parent: Some(90_400),
            wait: Some(Duration::ZERO),
            ..Ask::default()
        };
        assert_eq!(asked, Ok(wanted));
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_what_would_do() {
        for (variable, value, part) in [
            (MODE, "read", "`exclusive` or `shared`"),
            (MODE, "Shared", "did you mean `shared`?"),
            (PRIORITY, "high", "a whole number from -100 to 100, but is `high`"),
            (PRIORITY, "101", "a whole number from -100 to 100"),
            (PRIORITY, "1.5", "a whole number from -100 to 100"),
            (SCOPE, "pipelines", "did you mean `pipeline`?"),
            (ON_TIMEOUT, "requeu", "did you mean `requeue`?"),
            (RELEASE, "now", "known here: `after`"),
            (PARENT, "0", "a whole number above 0"),
            (PARENT, "-5", "a whole number above 0"),
            (PARENT, "+5", "a whole number above 0"),
            (PARENT, "$CI_PIPELINE_ID", "PIPELINE_LOCK_PARENT: $CI_PIPELINE_ID }"),
            (PARENT, "99999999999999999999", "a whole number above 0"),
            (SCOPE, "", "set but empty"),
        ] {
            let error = ask(&[(variable, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{variable}: ")) && error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn a_mistyped_variable_is_noted() {
        let asked = ask(&[("PIPELINE_LOCK_WIAT", "5m"), ("PIPELINE_LOCKS", "x")]).unwrap();
        assert_eq!(
            asked.notes,
            ["the variable PIPELINE_LOCK_WIAT has no effect; did you mean PIPELINE_LOCK_WAIT?"]
        );
        let told = ask(&[("PIPELINE_LOCK_NAME", "eu")]).unwrap().notes.concat();
        assert!(told.ends_with("PIPELINE_LOCK asks for locks"), "{told}");
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in any::<String>()) {
            for variable in OURS.iter().chain(&["PIPELINE_LOCK_é"]) {
                let told = ask(&[(variable, &value)]).map_or_else(|error| error, |asked| asked.notes.concat());
                prop_assert!(!told.contains(char::is_control), "{told:?}");
            }
        }
    }
}
