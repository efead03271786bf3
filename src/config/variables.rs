//! The variables of a job, as its author set them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;

/// The prefix that the runner gives to a job's variables in the environment of its driver.
const PREFIX: &str = "CUSTOM_ENV_";

/// A job's variables, without the runner's prefix `CUSTOM_ENV_`.
///
/// The job's author can set and override nearly all of them, those of GitLab (`CI_PROJECT_PATH`, …) too. They
/// say what the author wants, never who the job is: that is what [`JobFacts`](super::JobFacts) are for.
/// Values may be secrets, so `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JobVariables {
    values: BTreeMap<String, String>,
    unreadable: BTreeSet<String>,
}

/// A variable's value is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;

impl JobVariables {
    /// Takes those of `environment` that begin with `CUSTOM_ENV_`; others are the runner's, not the job's.
    pub fn from_environment(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut variables = Self::default();
        for (key, value) in environment {
            let Some(name) = key.to_str().and_then(|key| key.strip_prefix(PREFIX)) else { continue };
            match value.into_string() {
                Ok(value) => variables.values.insert(name.to_owned(), value).map(drop),
                Err(_) => variables.unreadable.insert(name.to_owned()).then_some(()),
            };
        }
        variables
    }

    /// The value of the variable `name`.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, NotText> {
        if self.unreadable.contains(name) {
            Err(NotText)
        } else {
            Ok(self.values.get(name).map(String::as_str))
        }
    }

    /// The names that begin with `prefix`.
    pub(super) fn names_from(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.values
            .keys()
            .chain(&self.unreadable)
            .map(String::as_str)
            .filter(move |name| name.starts_with(prefix))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for JobVariables {
    /// Takes names without the runner's prefix.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let values = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, unreadable: BTreeSet::new() }
    }
}

impl fmt::Debug for JobVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys().chain(&self.unreadable)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn only_what_the_runner_prefixed_is_the_jobs() {
        let pairs = [("CUSTOM_ENV_PIPELINE_LOCK", "a"), ("PIPELINE_LOCK_MODE", "b"), ("CUSTOM_ENV_", "c")];
        let variables =
            JobVariables::from_environment(pairs.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(variables.get("PIPELINE_LOCK"), Ok(Some("a")));
        assert_eq!(variables.get("PIPELINE_LOCK_MODE"), Ok(None));
    }

    #[test]
    fn a_value_that_is_no_text_is_told_from_a_missing_one() {
        let value = OsString::from_vec(vec![b'a', 0xff]);
        let variables = JobVariables::from_environment([("CUSTOM_ENV_X".into(), value)]);
        assert_eq!(variables.get("X"), Err(NotText));
        assert_eq!(variables.names_from("X").collect::<Vec<_>>(), ["X"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let variables: JobVariables = [("TOKEN", "hunter2")].into_iter().collect();
        assert_eq!(format!("{variables:?}"), r#"{"TOKEN"}"#);
    }
}
