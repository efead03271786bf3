//! Which jobs a rule is for.

use super::error::Fault;
use super::facts::JobFacts;
use super::glob::{Against, Globs};
use super::reader::{Item, Schema, Section};
use super::suggest::shown;
use super::variables::JobVariables;

/// The conditions of a rule's `match`, all of which have to hold. None at all: every job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matcher {
    /// The project's full path.
    pub project: Option<Globs>,
    /// The branch or tag.
    pub git_ref: Option<Globs>,
    /// The name of the job's environment, which its author chooses.
    pub environment: Option<Globs>,
    /// The job's name, which its author chooses.
    pub job: Option<Globs>,
    /// The ref is a tag, and this its name.
    pub tag: Option<Globs>,
    /// Whether the ref is protected.
    pub ref_protected: Option<bool>,
}

pub(super) const MATCH_KEYS: &[&str] = &["project", "ref", "environment", "job", "tag", "ref_protected"];
const MATCH: Schema = Schema { name: "match", keys: MATCH_KEYS, inner: &[] };

/// What a condition says of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds.
    Yes,
    /// It doesn't, for this reason.
    No(String),
    /// It can't be told, as the job doesn't say this. To go on as if it were a no could cost a job its lock.
    Unknown(&'static str),
}

impl Matcher {
    pub(super) fn read(item: Item) -> Result<Self, Fault> {
        let mut section = Section::open(item.into_node(), &MATCH)?;
        let mut globs = |key, against| section.opt(key, |item| Globs::read(item, against));
        Ok(Self {
            project: globs("project", Against::ProjectPath)?,
            git_ref: globs("ref", Against::Name)?,
            environment: globs("environment", Against::Name)?,
            job: globs("job", Against::Name)?,
            tag: globs("tag", Against::Name)?,
            ref_protected: section.opt("ref_protected", Item::truth)?,
        })
    }

    /// Whether all conditions hold for a job. One that doesn't settles it, even where others can't be told.
    pub(super) fn verdict(&self, facts: &JobFacts, variables: &JobVariables) -> Verdict {
        let mut unknown = None;
        for verdict in self.conditions(facts, variables).into_iter().flatten() {
            match verdict {
                Verdict::Yes => {}
                Verdict::No(_) => return verdict,
                Verdict::Unknown(_) => unknown = unknown.or(Some(verdict)),
            }
        }
        unknown.unwrap_or(Verdict::Yes)
    }

    fn conditions(&self, facts: &JobFacts, variables: &JobVariables) -> [Option<Verdict>; 6] {
        let git_ref = facts.git_ref.as_deref();
        [
            self.project.as_ref().map(|globs| in_projects(globs, facts)),
            self.git_ref.as_ref().map(|globs| name("ref", globs, git_ref)),
            self.environment.as_ref().map(|globs| environment(globs, variables)),
            self.job.as_ref().map(|globs| name("job", globs, facts.job_name.as_deref())),
            self.tag.as_ref().map(|globs| match facts.is_tag {
                true => name("tag", globs, git_ref),
                false => Verdict::No("the job is not for a tag".to_owned()),
            }),
            self.ref_protected.map(|wanted| protected(wanted, facts.protected)),
        ]
    }
}

/// Whether the job's project is one of those. On an instance that is served under a path the globs may be
/// written with or without that path.
pub(super) fn in_projects(globs: &Globs, facts: &JobFacts) -> Verdict {
    let Some(path) = facts.project_path.as_deref() else {
        return Verdict::Unknown("the project's path (git_info.repo_url)");
    };
    let full_path = facts.project_full_path.as_deref();
    if globs.matches(path) || full_path.is_some_and(|path| globs.matches(path)) {
        return Verdict::Yes;
    }
    Verdict::No(format!("project `{path}` is not {globs}"))
}

fn name(what: &'static str, globs: &Globs, text: Option<&str>) -> Verdict {
    match text {
        None => Verdict::Unknown(what),
        Some(text) if globs.matches(text) => Verdict::Yes,
        Some(text) => Verdict::No(format!("{what} `{}` is not {globs}", shown(text))),
    }
}

fn environment(globs: &Globs, variables: &JobVariables) -> Verdict {
    match variables.get("CI_ENVIRONMENT_NAME") {
        Err(_) => Verdict::Unknown("environment"),
        Ok(None | Some("")) => Verdict::No("the job has no environment".to_owned()),
        Ok(text) => name("environment", globs, text),
    }
}

fn protected(wanted: bool, protected: Option<bool>) -> Verdict {
    match protected {
        None => Verdict::Unknown("whether its ref is protected (git_info.protected, from runner 18.3 on)"),
        Some(is) if is == wanted => Verdict::Yes,
        Some(true) => Verdict::No("the ref is protected".to_owned()),
        Some(false) => Verdict::No("the ref is not protected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    use super::*;
    use crate::config::error::Place;
    use crate::config::yaml;

    fn matcher(text: &str) -> Matcher {
        let node = yaml::parse(text).unwrap();
        Matcher::read(Item { key: "match", place: Place::default(), value: node.value }).unwrap()
    }

    fn job() -> (JobFacts, JobVariables) {
        let json = include_bytes!("../../tests/fixtures/job-v19.json");
        let variables = [("CI_ENVIRONMENT_NAME", "production/eu")].into_iter().collect();
        (JobFacts::from_json(json).unwrap(), variables)
    }

    fn verdict(text: &str, change: impl FnOnce(&mut JobFacts)) -> Verdict {
        let (mut facts, variables) = job();
        change(&mut facts);
        matcher(text).verdict(&facts, &variables)
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let all = "{project: 'infra/**', ref: main, environment: 'production*', job: 'deploy*', ref_protected: true}";
        assert_eq!(verdict(all, |_| ()), Verdict::Yes);
        assert_eq!(verdict("{}", |_| ()), Verdict::Yes);
        for (change, reason) in [
            ("project: 'infra/*'", "project `infra/network/edge-router` is not `infra/*`"),
            ("ref: develop", "ref `main` is not `develop`"),
            ("environment: staging", "environment `production/eu` is not `staging`"),
            ("job: test", "job `deploy: [eu]` is not `test`"),
            ("tag: 'v*'", "not for a tag"),
            ("ref_protected: false", "the ref is protected"),
        ] {
            let Verdict::No(why) = verdict(change, |_| ()) else { panic!("{change}") };
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn a_tag_is_matched_by_tag_and_by_ref() {
        let tag = |facts: &mut JobFacts| (facts.is_tag, facts.git_ref) = (true, Some("v1.2".into()));
        assert_eq!(verdict("tag: 'v*'", tag), Verdict::Yes);
        assert_eq!(verdict("ref: 'v*'", tag), Verdict::Yes);
    }

    #[test]
    fn what_the_runner_does_not_say_is_no_reason_to_pass_a_rule_over() {
        let old = |facts: &mut JobFacts| facts.protected = None;
        assert!(matches!(verdict("ref_protected: true", old), Verdict::Unknown(_)));
        assert!(matches!(verdict("{ref_protected: true, ref: other}", old), Verdict::No(_)));
        assert!(matches!(verdict("project: '**'", |facts| facts.project_path = None), Verdict::Unknown(_)));
    }

    #[test]
    fn under_a_path_the_project_matches_with_and_without_it() {
        let under =
            |facts: &mut JobFacts| facts.project_path = Some("gitlab/infra/network/edge-router".into());
        assert_eq!(verdict("project: 'infra/**'", under), Verdict::Yes);
        assert_eq!(verdict("project: 'gitlab/infra/**'", under), Verdict::Yes);
    }

    #[test]
    fn what_cannot_be_told_of_a_job_is_unknown_and_no_reason_to_pass_a_rule_over() {
        assert!(matches!(verdict("ref: other", |facts| facts.git_ref = None), Verdict::Unknown("ref")));
        assert!(matches!(verdict("job: other", |facts| facts.job_name = None), Verdict::Unknown("job")));
    }

    #[test]
    fn an_environment_that_is_no_text_takes_no_job_out_of_its_rule() {
        let value = OsString::from_vec(b"production\xff".to_vec());
        let variables = JobVariables::from_environment([("CUSTOM_ENV_CI_ENVIRONMENT_NAME".into(), value)]);
        let verdict = matcher("environment: 'production*'").verdict(&job().0, &variables);
        assert_eq!(verdict, Verdict::Unknown("environment"));
    }
}
