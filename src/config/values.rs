//! Where the value of a template's variable comes from.

use super::facts::JobFacts;
use super::variables::{JobVariables, NotText};

/// The variables that nobody but GitLab decides: a name built of them alone can't be forged.
const IDENTITY: &[&str] = &[
    "CI_SERVER_HOST",
    "CI_PROJECT_PATH",
    "CI_PROJECT_ID",
    "CI_PROJECT_NAME",
    "CI_PROJECT_NAMESPACE",
    "CI_PROJECT_ROOT_NAMESPACE",
    "CI_PIPELINE_ID",
    "CI_JOB_ID",
    "CI_COMMIT_SHA",
    "GITLAB_USER_ID",
];

/// The variables that are true, but whose text an author chooses (a job's name may be any text).
pub(super) const TOLD: &[&str] = &["CI_JOB_NAME", "CI_JOB_STAGE", "CI_COMMIT_REF_NAME", "CI_COMMIT_TAG"];

/// Whether nobody but GitLab decides what the variable holds.
pub(super) fn is_identity(name: &str) -> bool {
    IDENTITY.contains(&name)
}

/// Whether the variable comes from the job's facts, so that setting it in a job does nothing.
pub(super) fn is_fact(name: &str) -> bool {
    is_identity(name) || TOLD.contains(&name)
}

/// What a template's variables stand for, for one job.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) facts: &'a JobFacts,
    pub(super) variables: &'a JobVariables,
}

impl Values<'_> {
    /// The value of `name`: out of the facts if it is one, whatever the job's variables say, else out of those.
    pub(super) fn value(&self, name: &str) -> Result<Option<String>, NotText> {
        if is_fact(name) {
            return Ok(self.fact(name));
        }
        Ok(self.variables.get(name)?.map(str::to_owned))
    }

    fn fact(&self, name: &str) -> Option<String> {
        let facts = self.facts;
        let path = facts.project_path.as_deref();
        let namespace = path.and_then(|path| path.rsplit_once('/'));
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        match name {
            "CI_SERVER_HOST" => facts.host.clone(),
            "CI_PROJECT_PATH" => path.map(str::to_owned),
            "CI_PROJECT_ID" => number(facts.project_id),
            "CI_PROJECT_NAME" => namespace.map(|(_, name)| name.to_owned()),
            "CI_PROJECT_NAMESPACE" => namespace.map(|(namespace, _)| namespace.to_owned()),
            "CI_PROJECT_ROOT_NAMESPACE" => path.and_then(|path| path.split('/').next()).map(str::to_owned),
            "CI_PIPELINE_ID" => number(facts.pipeline_id),
            "CI_JOB_ID" => Some(facts.job_id.to_string()),
            "CI_COMMIT_SHA" => facts.sha.clone(),
            "GITLAB_USER_ID" => number(facts.user_id),
            "CI_JOB_NAME" => facts.job_name.clone(),
            "CI_JOB_STAGE" => facts.stage.clone(),
            "CI_COMMIT_REF_NAME" => facts.git_ref.clone(),
            "CI_COMMIT_TAG" => facts.git_ref.clone().filter(|_| facts.is_tag),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_from_the_facts_even_where_they_lack_it() {
        let facts = JobFacts::from_json(br#"{"id": 5}"#).unwrap();
        let forged = IDENTITY.iter().chain(TOLD).map(|name| (*name, "forged"));
        let variables: JobVariables = forged.collect();
        let values = Values { facts: &facts, variables: &variables };
        for name in IDENTITY.iter().chain(TOLD) {
            assert_ne!(values.value(name), Ok(Some("forged".to_owned())), "{name}");
        }
        assert_eq!(values.value("CI_JOB_ID"), Ok(Some("5".to_owned())));
    }

    #[test]
    fn every_fact_has_its_value() {
        let json = include_bytes!("../../tests/fixtures/job-v19.json");
        let facts = JobFacts { is_tag: true, ..JobFacts::from_json(json).unwrap() };
        let variables = JobVariables::default();
        let values = Values { facts: &facts, variables: &variables };
        for name in IDENTITY.iter().chain(TOLD) {
            assert!(matches!(values.value(name), Ok(Some(value)) if !value.is_empty()), "{name}");
        }
        assert_eq!(values.value("CI_PROJECT_NAMESPACE"), Ok(Some("infra/network".to_owned())));
        assert_eq!(values.value("CI_PROJECT_ROOT_NAMESPACE"), Ok(Some("infra".to_owned())));
    }
}
