//! What the runner itself says about a job.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::repo_url::{RepoUrl, is_project_path};

/// Facts about a job out of the runner's `JOB_RESPONSE_FILE`.
///
/// The file is the runner's own copy of what GitLab sent, written (mode 0600) before any line of the job runs.
/// The runner writes those fields only that its version knows, so most are options here. "Every version" means
/// those seen with runners of v14.10, v17.5 and v19.4.
///
/// Its fields are the server's and can be trusted; its list `variables` can't. GitLab puts its own variables and
/// the author's into one list and keeps both of two with one name; it sorts the list by what refers to what, so
/// that neither the first nor the last of a name is surely GitLab's, and no flag tells them apart. Where a fact
/// is taken from there nonetheless, it is one that GitLab sends with every job, and it is taken only if all
/// entries of its name agree (*by agreement* below): an author's different value makes the fact unknown.
///
/// The token, credentials and the values of variables are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// The job's id. Every version. The one field that has to be there.
    pub job_id: u64,
    /// The instance: the host of `git_info.repo_url`, with its port where that isn't the scheme's own, for
    /// example `gitlab.example` or `gitlab.example:8443`. Every version. An administrator's custom clone
    /// address (GitLab: "custom Git clone URL for HTTP(S)") shows here; a job's author has no say in it.
    pub host: Option<String>,
    /// The project's full path: the path of `git_info.repo_url`, so that it is the same with every version;
    /// `job_info.project_full_path` (from v18.5 on) only where there is no such address. On an instance that is
    /// served under a path (`https://host/gitlab`) it begins with that path.
    pub project_path: Option<String>,
    /// `job_info.project_full_path`, from v18.5 on: never with the path under which the instance is served.
    pub project_full_path: Option<String>,
    /// `job_info.project_id`. Every version.
    pub project_id: Option<u64>,
    /// `job_info.name`. Every version. True, but the author's choice.
    pub job_name: Option<String>,
    /// `job_info.stage`. Every version. True, but the author's choice.
    pub stage: Option<String>,
    /// `job_info.pipeline_id`, which v18.6 doesn't have yet; else `CI_PIPELINE_ID` by agreement.
    pub pipeline_id: Option<u64>,
    /// `git_info.ref`: the branch or tag. Every version. True, but chosen by who may push it.
    pub git_ref: Option<String>,
    /// Whether the ref is a tag: `git_info.ref_type`. Every version.
    pub is_tag: bool,
    /// `git_info.sha`. Every version.
    pub sha: Option<String>,
    /// Whether the ref is protected: `git_info.protected`, from v18.3 on. Nothing stands in for it, as access
    /// depends on it: older runners leave it unknown.
    pub protected: Option<bool>,
    /// `job_info.user_id`, from v18.5 on.
    pub user_id: Option<u64>,
    /// `GITLAB_USER_LOGIN` by agreement. For people to read, never to decide upon.
    pub user: Option<String>,
    /// The job's page, put together as the runner does it.
    pub job_url: Option<String>,
    /// `runner_info.timeout`: how long the job may take. Every version.
    pub timeout: Option<Duration>,
}

/// Why there are no facts about a job.
#[derive(Debug, Error)]
pub enum FactsError {
    /// The file can't be read. The runner sets JOB_RESPONSE_FILE; run the stage through the runner.
    #[error("cannot read the job that the runner handed over, {file:?} (JOB_RESPONSE_FILE): {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file isn't JSON. It was cut off, or is another file.
    #[error("the job that the runner handed over (JOB_RESPONSE_FILE) is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The job has no id, so nothing can be said of whose hold it would be.
    #[error("the job that the runner handed over (JOB_RESPONSE_FILE) has no `id`")]
    NoId,
}

impl JobFacts {
    /// Reads the file that `JOB_RESPONSE_FILE` names.
    pub fn read(file: &Path) -> Result<Self, FactsError> {
        let json =
            std::fs::read(file).map_err(|source| FactsError::Unreadable { file: file.to_owned(), source })?;
        Self::from_json(&json)
    }

    /// The instance and the project, as [`Self::host`] and [`Self::project_path`], that the address of a job's repository
    /// names: `git_info.repo_url`, which a script has as `CI_REPOSITORY_URL`.
    pub fn place_of(repo_url: &str) -> Option<(String, String)> {
        RepoUrl::parse(repo_url).map(|repo| (repo.host, repo.path))
    }

    /// Takes the facts out of the job's JSON. Fields that are missing, empty or of another kind are unknown;
    /// only `id` has to be there.
    pub fn from_json(json: &[u8]) -> Result<Self, FactsError> {
        let job: Value = serde_json::from_slice(json).map_err(FactsError::NotJson)?;
        let job_id = number(&job["id"]).ok_or(FactsError::NoId)?;
        let (info, git) = (&job["job_info"], &job["git_info"]);
        let repo = git["repo_url"].as_str().and_then(RepoUrl::parse);
        let full_path = text(&info["project_full_path"]).filter(|path| is_project_path(path));
        let variables = &job["variables"];
        Ok(Self {
            job_id,
            project_path: repo.as_ref().map(|repo| repo.path.clone()).or_else(|| full_path.clone()),
            project_full_path: full_path,
            project_id: number(&info["project_id"]),
            job_name: text(&info["name"]),
            stage: text(&info["stage"]),
            pipeline_id: number(&info["pipeline_id"])
                .or_else(|| agreed(variables, "CI_PIPELINE_ID")?.parse().ok()),
            git_ref: text(&git["ref"]),
            is_tag: git["ref_type"] == "tag",
            sha: text(&git["sha"]),
            protected: git["protected"].as_bool(),
            user_id: number(&info["user_id"]),
            user: agreed(variables, "GITLAB_USER_LOGIN").map(str::to_owned),
            job_url: repo.as_ref().map(|repo| repo.job_page(job_id)),
            timeout: number(&job["runner_info"]["timeout"]).map(Duration::from_secs),
            host: repo.map(|repo| repo.host),
        })
    }
}

/// A text that isn't empty: the runner writes an empty one for what the server did not send.
fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number above 0: the runner writes 0 for what the server did not send.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number > 0)
}

/// The value that all entries of the variable `name` have, if they agree.
fn agreed<'a>(variables: &'a Value, name: &str) -> Option<&'a str> {
    let entries = variables.as_array()?.iter().filter(|entry| entry["key"] == name);
    let mut values = entries.map(|entry| entry["value"].as_str());
    let first = values.next()??;
    (!first.is_empty() && values.all(|value| value == Some(first))).then_some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V14: &str = include_str!("../../tests/fixtures/job-v14.json");
    const V17: &str = include_str!("../../tests/fixtures/job-v17.json");
    const V19: &str = include_str!("../../tests/fixtures/job-v19.json");

    fn facts(json: &str) -> JobFacts {
        JobFacts::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn all_versions_agree_on_who_the_job_is() {
        for json in [V14, V17, V19] {
            let facts = facts(json);
            assert_eq!(facts.host.as_deref(), Some("gitlab.example.com"));
            assert_eq!(facts.project_path.as_deref(), Some("infra/network/edge-router"));
            assert_eq!((facts.project_id, facts.pipeline_id), (Some(278), Some(90_417)));
            assert_eq!(
                (facts.job_name.as_deref(), facts.stage.as_deref()),
                (Some("deploy: [eu]"), Some("deploy"))
            );
            assert_eq!((facts.git_ref.as_deref(), facts.is_tag), (Some("main"), false));
            assert_eq!(facts.user.as_deref(), Some("mara"));
            assert_eq!(facts.timeout, Some(Duration::from_secs(3_600)));
            let page =
                format!("https://gitlab.example.com/infra/network/edge-router/-/jobs/{}", facts.job_id);
            assert_eq!(facts.job_url, Some(page));
        }
    }

    #[test]
    fn only_the_newest_says_who_is_protected_and_which_user() {
        assert_eq!([V14, V17, V19].map(|json| facts(json).protected), [None, None, Some(true)]);
        assert_eq!([V14, V17, V19].map(|json| facts(json).user_id), [None, None, Some(31)]);
    }

    #[test]
    fn an_author_who_overrides_variables_changes_no_identity() {
        let mut job: Value = serde_json::from_str(V14).unwrap();
        let forged =
            ["CI_SERVER_HOST", "CI_PROJECT_PATH", "CI_PROJECT_ID", "CI_PIPELINE_ID", "GITLAB_USER_LOGIN"];
        for at in [0, 1_000] {
            for key in forged {
                let variables = job["variables"].as_array_mut().unwrap();
                let entry = serde_json::json!({"key": key, "value": "1", "public": true});
                variables.insert(at.min(variables.len()), entry);
            }
        }
        let forged = facts(&job.to_string());
        let honest = facts(V14);
        assert_eq!((forged.pipeline_id, &forged.user), (None, &None), "what is disputed is unknown");
        assert_eq!(JobFacts { pipeline_id: honest.pipeline_id, user: honest.user.clone(), ..forged }, honest);
    }

    #[test]
    fn a_job_of_nothing_but_an_id_is_read() {
        let facts = facts(r#"{"id": 5, "job_info": null, "git_info": {"protected": null}, "variables": {}}"#);
        assert_eq!((facts.job_id, facts.host, facts.project_path), (5, None, None));
    }

    #[test]
    fn a_job_without_an_id_is_refused() {
        for json in ["{}", r#"{"id": 0}"#, r#"{"id": "5"}"#, r#"{"id": -5}"#, "[]", "null"] {
            assert!(matches!(JobFacts::from_json(json.as_bytes()), Err(FactsError::NoId)), "{json}");
        }
        assert!(matches!(JobFacts::from_json(b"{"), Err(FactsError::NotJson(_))));
    }

    #[test]
    fn no_secret_of_the_job_is_kept() {
        for json in [V14, V17, V19] {
            assert!(
                json.contains("hunter2") && json.contains("s3cr3t"),
                "the fixtures have secrets to look for"
            );
            let shown = format!("{:?}", facts(json));
            assert!(!shown.contains("hunter2") && !shown.contains("s3cr3t"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(cut in 0usize..3_000, with in "[\\[\\]{}:,\"0-9a-z]{0,6}") {
            let cut = cut.min(V19.len());
            let mutated = format!("{}{with}{}", &V19[..cut], &V19[(cut + with.len()).min(V19.len())..]);
            let _ = JobFacts::from_json(mutated.as_bytes()).map_err(|error| error.to_string());
        }
    }
}
