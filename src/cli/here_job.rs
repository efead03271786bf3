//! The CI job that a command is called from, as its own environment tells it. That is the caller's word about
//! itself: it names locks on the command line, and decides nothing that others rely on.

use std::{collections::BTreeMap, env};

use super::variables::own_variables;
use crate::{
    config::{Config, Decision, JobFacts, JobVariables, PolicyError, asked_parent, decide},
    host::clock::hostname,
    lock::{Owner, Who},
};

/// The job around this process.
#[derive(Clone, Debug)]
pub struct HereJob {
    facts: JobFacts,
    variables: JobVariables,
}

impl HereJob {
    /// The job, if this is one.
    pub fn find() -> Option<Self> {
        Self::of(own_variables())
    }

    /// The job that has these variables; none without CI_JOB_ID.
    pub fn of(variables: BTreeMap<String, String>) -> Option<Self> {
        let var = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let job_id = var("CI_JOB_ID")?.parse().ok()?;
        let server = || {
            var("CI_SERVER_HOST").map(|host| match var("CI_SERVER_PORT").as_deref() {
                None | Some("443" | "80") => host,
                Some(port) => format!("{host}:{port}"),
            })
        };
        let full_path = var("CI_PROJECT_PATH");
        // The executor goes by this address: it has the path under which an instance is served (`https://host/gitlab`),
        // and the host that an administrator gave it.
        let is_its = |path: &str| {
            full_path.as_ref().is_some_and(|its| format!("/{path}").ends_with(&format!("/{its}")))
        };
        let place = var("CI_REPOSITORY_URL").and_then(|url| JobFacts::place_of(&url));
        let (host, project_path) = match place.filter(|(_, path)| is_its(path)) {
            Some((host, path)) => (Some(host), Some(path)),
            None => (server(), full_path.clone()),
        };
        let facts = JobFacts {
            job_id,
            host,
            project_path,
            project_full_path: full_path,
            project_id: var("CI_PROJECT_ID").and_then(|v| v.parse().ok()),
            job_name: var("CI_JOB_NAME"),
            stage: var("CI_JOB_STAGE"),
            pipeline_id: var("CI_PIPELINE_ID").and_then(|v| v.parse().ok()),
            git_ref: var("CI_COMMIT_REF_NAME"),
            is_tag: var("CI_COMMIT_TAG").is_some(),
            sha: var("CI_COMMIT_SHA"),
            protected: var("CI_COMMIT_REF_PROTECTED").map(|v| v == "true"),
            user_id: var("GITLAB_USER_ID").and_then(|v| v.parse().ok()),
            user: var("GITLAB_USER_LOGIN"),
            job_url: var("CI_JOB_URL"),
            timeout: None,
        };
        Some(Self { facts, variables: variables.into_iter().collect() })
    }

    /// The job that the runner hands over, with these variables.
    pub fn handed_over(facts: JobFacts, variables: BTreeMap<String, String>) -> Self {
        Self { facts, variables: variables.into_iter().collect() }
    }

    /// What the file says about this job.
    pub fn decide(&self, config: &Config) -> Result<Decision, PolicyError> {
        decide(config, &self.facts, &self.variables)
    }

    /// What the file's rules and the job's own variables decide about it.
    pub fn decision(&self, config: &Config) -> anyhow::Result<Decision> {
        Ok(self.decide(config)?)
    }

    /// The pipeline, as an owner; or the one that the job names as its parent (`PIPELINE_LOCK_PARENT`).
    pub fn pipeline(&self) -> anyhow::Result<Option<Owner>> {
        let parent = asked_parent(&self.variables)?;
        let project_id = self.facts.project_id.or(Some(0));
        Ok(JobFacts { project_id, ..self.facts.clone() }.pipeline_owner(parent))
    }

    /// The job, as an owner.
    pub fn owner(&self) -> Owner {
        self.facts.job_owner()
    }

    /// The job's id.
    pub const fn id(&self) -> u64 {
        self.facts.job_id
    }

    /// Who this is, for people.
    pub fn who(&self) -> Who {
        Who {
            project: self.facts.project_path.clone().unwrap_or_default(),
            job: self.facts.job_name.clone().unwrap_or_default(),
            job_id: self.facts.job_id,
            pipeline: self.facts.pipeline_id.unwrap_or(0),
            user: self.facts.user.clone().unwrap_or_default(),
            url: self.facts.job_url.clone().unwrap_or_default(),
            host: hostname(),
        }
    }
}

/// Who calls, when it is no job.
pub fn who_outside(command: &str) -> Who {
    Who { job: command.to_owned(), user: user(), host: hostname(), ..Who::default() }
}

/// The person: who started the job, or whose shell it is. It is shown, and decides nothing.
fn user() -> String {
    let var = |name| env::var(name).ok().filter(|value| !value.is_empty());
    ["GITLAB_USER_LOGIN", "SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(var).unwrap_or_default()
}

/// Who calls, in a word or two.
pub fn caller() -> String {
    match user().as_str() {
        "" => format!("somebody on {}", hostname()),
        user => format!("{user} on {}", hostname()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(repository: &str) -> (Option<String>, Option<String>) {
        let variables = [
            ("CI_JOB_ID", "5"),
            ("CI_SERVER_HOST", "gitlab.example"),
            ("CI_SERVER_PORT", "8443"),
            ("CI_PROJECT_PATH", "shop/web"),
            ("CI_REPOSITORY_URL", repository),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let facts = HereJob::of(variables.into()).unwrap().facts;
        assert_eq!(facts.project_full_path.as_deref(), Some("shop/web"));
        (facts.host, facts.project_path)
    }

    #[test]
    fn a_command_in_a_job_names_the_instance_and_the_project_as_the_jobs_executor_does() {
        for address in [
            "https://gitlab-ci-token:x@gitlab.example:8443/shop/web.git",
            "https://gitlab-ci-token:x@Gitlab.example/gitlab/shop/web.git",
            "http://gitlab-ci-token:x@gitlab.example:443/shop/web.git",
            "https://gitlab-ci-token:x@clone.example/shop/web.git",
        ] {
            let job = serde_json::json!({ "id": 5, "git_info": { "repo_url": address } });
            let handed_over = JobFacts::from_json(job.to_string().as_bytes()).unwrap();
            assert_eq!(place_of(address), (handed_over.host, handed_over.project_path), "{address}");
        }
    }

    #[test]
    fn an_address_that_is_not_the_projects_names_nothing() {
        for address in [
            "",
            "git@gitlab.example:shop/web.git",
            "https://h/other/project.git",
            "https://h/workshop/web.git",
        ] {
            let server = (Some("gitlab.example:8443".to_owned()), Some("shop/web".to_owned()));
            assert_eq!(place_of(address), server, "{address}");
        }
    }
}
