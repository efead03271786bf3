//! Globs: the patterns by which rules choose jobs.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::lock::clean;

use super::error::{Fault, Problem};
use super::reader::Item;
use super::suggest::shown;
use super::yaml::Value;

/// The longest glob, in bytes. Longer ones are no patterns that a person reads.
const MAX_GLOB_BYTES: usize = 1_000;

/// What the globs are matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// The path of a project: `*` stays within one folder, `**` crosses, and case doesn't count, since no two
    /// projects of GitLab differ in case alone.
    ProjectPath,
    /// Any other name: `*` crosses `/`, as GitLab's own wildcards for environments and branches do.
    Name,
}

/// One or more globs, one of which has to match.
#[derive(Clone)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Reads a glob or a list of them.
    pub(super) fn read(item: Item, against: Against) -> Result<Self, Fault> {
        let key = item.key;
        if matches!(&item.value, Value::List(list) if list.is_empty()) {
            return Err(
                item.bad("the list of globs is empty and would match nothing: name one, or drop the key")
            );
        }
        let mut patterns = Vec::new();
        let mut builder = GlobSetBuilder::new();
        let place = item.place;
        for item in item.one_or_many() {
            let place = item.place;
            let pattern = item.text()?;
            let glob =
                build(&pattern, against).map_err(|why| Fault::new(place, Problem::Value { key, why }))?;
            builder.add(glob);
            patterns.push(pattern);
        }
        let set = builder.build().map_err(|error| {
            let why = format!("these globs cannot be used together: {}", shown(&error.to_string()));
            Fault::new(place, Problem::Value { key, why })
        })?;
        Ok(Self { patterns, set })
    }

    /// Whether one of the globs matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.set.is_match(text)
    }
}

fn build(pattern: &str, against: Against) -> Result<globset::Glob, String> {
    if pattern.len() > MAX_GLOB_BYTES {
        return Err(format!("the glob is longer than {MAX_GLOB_BYTES} bytes: {}", shown(pattern)));
    }
    let project = against == Against::ProjectPath;
    GlobBuilder::new(pattern)
        .literal_separator(project)
        .case_insensitive(project)
        .backslash_escape(true)
        .build()
        .map_err(|error| {
            format!("the glob \"{}\" cannot be read: {}", shown(pattern), clean(&error.kind().to_string()))
        })
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl fmt::Debug for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.patterns).finish()
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<String> = self.patterns.iter().map(|p| format!("`{}`", shown(p))).collect();
        f.write_str(&quoted.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Place;
    use crate::config::yaml;

    fn globs(text: &str, against: Against) -> Result<Globs, String> {
        let node = yaml::parse(text).unwrap();
        let item = Item { key: "project", place: Place::default(), value: node.value };
        Globs::read(item, against).map_err(|fault| fault.problem.to_string())
    }

    #[test]
    fn in_a_project_path_one_star_stays_within_a_folder() {
        let one = globs("infra/*", Against::ProjectPath).unwrap();
        assert!(one.matches("infra/app") && one.matches("Infra/App"));
        assert!(!one.matches("infra/deep/app") && !one.matches("other/infra/app"));
        let all = globs("infra/**", Against::ProjectPath).unwrap();
        assert!(all.matches("infra/deep/app") && all.matches("infra/app") && !all.matches("infra"));
    }

    #[test]
    fn in_other_names_a_star_crosses_slashes_and_case_counts() {
        let globs = globs("production*", Against::Name).unwrap();
        assert!(globs.matches("production/eu") && globs.matches("production"));
        assert!(!globs.matches("Production") && !globs.matches("preproduction"));
    }

    #[test]
    fn a_list_matches_if_one_of_its_globs_does() {
        let globs = globs("[main, 'release/*']", Against::Name).unwrap();
        assert!(globs.matches("main") && globs.matches("release/1") && !globs.matches("mains"));
        assert_eq!(globs.to_string(), "`main` or `release/*`");
    }

    #[test]
    fn a_broken_glob_says_what_is_broken() {
        let error = globs("'a[b'", Against::Name).unwrap_err();
        assert!(error.contains("\"a[b\"") && error.contains("unclosed"), "{error}");
        let error = globs("\"[\\e-\\t]\"", Against::Name).unwrap_err();
        assert!(error.contains("invalid range") && !error.contains(char::is_control), "{error:?}");
        assert!(globs("[]", Against::Name).unwrap_err().contains("match nothing"));
        assert!(globs("1.5", Against::Name).unwrap_err().contains("put a text in quotes"));
        assert!(globs(&"x".repeat(2_000), Against::Name).unwrap_err().contains("longer than"));
    }
}
