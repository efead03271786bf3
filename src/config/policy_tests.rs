//! What is decided, over whole files and jobs.

use std::time::Duration;

use super::*;

const OWN: &str = "gitlab.example.com/infra/network/edge-router";
const V19: &[u8] = include_bytes!("../../tests/fixtures/job-v19.json");

fn config(text: &str) -> Config {
    let environment = Environment { root: true, ..Environment::default() };
    Config::parse(text, Source::File("f.yaml".into()), &environment).unwrap()
}

fn facts() -> JobFacts {
    JobFacts::from_json(V19).unwrap()
}

fn decide_for(text: &str, variables: &[(&str, &str)]) -> Result<Decision, String> {
    let variables = variables.iter().copied().collect();
    decide(&config(text), &facts(), &variables).map_err(|error| error.to_string())
}

/// The names of the locks, or the error.
fn names(text: &str, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let decision = decide_for(text, variables)?;
    Ok(decision.locks.iter().map(|lock| lock.name.to_string()).collect())
}

fn own(rest: &str) -> Result<Vec<String>, String> {
    Ok(vec![format!("{OWN}{rest}")])
}

const SHARED: &str = r#"
wait: 10m
locks:
  - { name: deploy/eu, shared: true, projects: ["infra/**"], on_request: true, wait: 5m }
  - { name: deploy/us, shared: true, projects: ["shop/*"], on_request: true }
  - { name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}" }
"#;

#[test]
fn without_a_file_each_project_has_one_lock() {
    for version in ["v14", "v17", "v19"] {
        let path = format!("{}/tests/fixtures/job-{version}.json", env!("CARGO_MANIFEST_DIR"));
        let facts = JobFacts::read(path.as_ref()).unwrap();
        let decision = decide(&config(""), &facts, &JobVariables::default()).unwrap();
        let name = OWN.parse().unwrap();
        assert_eq!(decision.locks, [WantedLock::plain(name, Duration::from_secs(3_000))]);
        assert_eq!(decision.why, "the default rule (f.yaml) is the first that matches");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let text = r#"
locks:
  - { match: { ref: develop }, name: [] }
  - { match: { ref: main }, name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/main", wait: 7m }
  - { name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}" }
"#;
    let decision = decide_for(text, &[]).unwrap();
    assert_eq!(decision.locks[0].name.as_str(), format!("{OWN}/main"));
    assert_eq!(decision.locks[0].wait, Duration::from_secs(420));
    assert_eq!(decision.why, "rule 2 (f.yaml, line 4) is the first that matches");
    let passed: Vec<String> = decision.passed_over.iter().map(ToString::to_string).collect();
    assert_eq!(passed, ["rule 1 (f.yaml, line 3): ref `main` is not `develop`"]);
    let rule = decision.rule.unwrap();
    assert_eq!((rule.index, rule.line), (1, Some(4)));
}

#[test]
fn a_job_that_no_rule_matches_runs_without_a_lock_and_is_told_so() {
    let decision = decide_for("locks: [{ match: { ref: other }, name: [] }]", &[]).unwrap();
    assert_eq!((decision.locks, decision.rule), (vec![], None));
    assert_eq!(decision.why, "no lock: none of the rules of f.yaml matches");
}

#[test]
fn a_rule_may_name_no_lock_or_several() {
    let decision = decide_for("locks: [{ name: [] }]", &[]).unwrap();
    assert!(decision.locks.is_empty() && decision.why.contains("names none"), "{}", decision.why);
    let text = r#"locks: [{ names: ["{CI_SERVER_HOST}/{CI_PROJECT_PATH}/a", "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{X}"] }]"#;
    assert_eq!(names(text, &[("X", "b")]), Ok(vec![format!("{OWN}/a"), format!("{OWN}/b")]));
    assert_eq!(names(text, &[("X", "a")]), own("/a"), "one name, one lock");
}

#[test]
fn a_job_cannot_say_that_it_is_another() {
    let forged = [("CI_PROJECT_PATH", "victim/app"), ("CI_SERVER_HOST", "other"), ("CI_PROJECT_ID", "1")];
    assert_eq!(names("", &forged), own(""));
    let text = r#"locks: [{ match: { project: "victim/*" }, name: [] }, { name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}:{CI_PROJECT_ID}" }]"#;
    assert_eq!(names(text, &forged), own(":278"));
}

#[test]
fn a_missing_variable_names_rule_line_and_way_out() {
    let text = "locks:\n  - name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_ENVIRONMENT_NAME}'";
    let error = names(text, &[]).unwrap_err();
    assert!(error.starts_with("rule 1 (f.yaml, line 2) names its lock by {CI_ENVIRONMENT_NAME}"), "{error}");
    assert!(
        error.contains("`environment:`") && error.contains("{CI_ENVIRONMENT_NAME|default:TEXT}"),
        "{error}"
    );
    assert_eq!(names(text, &[("CI_ENVIRONMENT_NAME", "review/x")]), own("/review/x"));
}

#[test]
fn names_that_climb_or_have_empty_parts_are_refused() {
    let text = "locks: [{ name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_ENVIRONMENT_NAME}' }]";
    for value in ["../other", "a/../../b", "/a", "a//b", "a/", ".", ".."] {
        let error = names(text, &[("CI_ENVIRONMENT_NAME", value)]).unwrap_err();
        assert!(error.contains("`|slug`"), "{value}: {error}");
        assert!(names("", &[("PIPELINE_LOCK", value)]).is_err(), "{value}");
    }
    let long = "x".repeat(300);
    assert!(names(text, &[("CI_ENVIRONMENT_NAME", &long)]).unwrap_err().contains("`|hash`"));
    assert!(
        names(text, &[("CI_ENVIRONMENT_NAME", "a\u{1b}b")]).is_err_and(|error| !error.contains('\u{1b}'))
    );
}

#[test]
fn a_job_names_locks_below_its_own_project() {
    assert_eq!(names("", &[("PIPELINE_LOCK", "db")]), own("/db"));
    assert_eq!(names("", &[("PIPELINE_LOCK", OWN)]), own(""));
    assert_eq!(names("", &[("PIPELINE_LOCK", &format!("{OWN}:x"))]), own(":x"));
    let twice = format!("db,{OWN}/db");
    assert!(names("", &[("PIPELINE_LOCK", &twice)]).unwrap_err().contains("twice"));
    let error =
        names("", &[("PIPELINE_LOCK", "gitlab.example.com/infra/network/edge-router-2")]).unwrap_err();
    assert!(error.contains("another project's"), "{error}");
}

#[test]
fn a_shared_name_is_for_the_projects_that_it_is_shared_with() {
    let decision = decide_for(SHARED, &[("PIPELINE_LOCK", "deploy/eu")]).unwrap();
    assert_eq!(decision.locks[0].name.as_str(), "deploy/eu");
    assert_eq!(
        decision.locks[0].wait,
        Duration::from_secs(300),
        "the wait is that of the rule that shares it"
    );
    let error = names(SHARED, &[("PIPELINE_LOCK", "deploy/us")]).unwrap_err();
    assert!(error.contains("shared by rule 2 (f.yaml, line 5)") && error.contains("`projects`"), "{error}");
    assert_eq!(names(SHARED, &[]), own(""), "nobody takes a lock on request unasked");
    assert_eq!(names(SHARED, &[("PIPELINE_LOCK", "deploy/au")]), own("/deploy/au"));
}

#[test]
fn a_shared_rule_matches_the_jobs_of_its_projects_alone() {
    let text = |projects: &str| format!("locks: [{{ name: s, shared: true, projects: '{projects}' }}]");
    assert_eq!(names(&text("infra/**"), &[]), Ok(vec!["s".to_owned()]));
    assert_eq!(names(&text("shop/*"), &[]), Ok(vec![]));
}

#[test]
fn no_variable_makes_a_shared_name_out_of_a_projects_own() {
    let text = "locks: [{ name: 'gitlab.example.com/{X}', shared: true, projects: '**' }]";
    let error = names(text, &[("X", "victim/app")]).unwrap_err();
    assert!(error.contains("could be another project's"), "{error}");
    let text = "locks: [{ name: 'env/{X}', shared: true, projects: '**' }]";
    assert!(names(text, &[("X", "../gitlab.example.com/victim/app")]).is_err());
    assert_eq!(names(text, &[("X", "victim/app")]), Ok(vec!["env/victim/app".to_owned()]));
}

#[test]
fn a_job_goes_without_a_lock_where_its_rule_lets_it() {
    let none = [("PIPELINE_LOCK", "none")];
    let decision = decide_for("", &none).unwrap();
    assert_eq!(
        (decision.locks, decision.why.as_str()),
        (vec![], "no lock: the job asks for none (PIPELINE_LOCK: none)")
    );
    let rule =
        |extra: &str| format!("locks: [{{ name: '{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}', {extra} }}]");
    assert!(names(&rule("opt_out: false"), &none).unwrap_err().contains("opt_out: false"));
    assert_eq!(names(&rule("opt_out: false"), &[("PIPELINE_LOCK", "db")]), own("/db"));
    assert!(
        names(&rule("jobs_may_choose: false"), &[("PIPELINE_LOCK", "db")]).unwrap_err().contains("drop it")
    );
    assert!(names(&rule("jobs_may_choose: false"), &none).is_err());
}

#[test]
fn a_job_may_wait_less_but_not_longer_than_the_file_says() {
    let wait = |wait: &str| decide_for(SHARED, &[("PIPELINE_LOCK_WAIT", wait)]);
    assert_eq!(wait("90s").unwrap().locks[0].wait, Duration::from_secs(90));
    assert_eq!(wait("0s").unwrap().locks[0].wait, Duration::ZERO);
    let error = wait("11m").unwrap_err();
    assert_eq!(error, "PIPELINE_LOCK_WAIT is 11m, but `wait: 10m` of f.yaml allows at most 10m");
    let error =
        decide_for(SHARED, &[("PIPELINE_LOCK", "deploy/eu"), ("PIPELINE_LOCK_WAIT", "6m")]).unwrap_err();
    assert!(error.contains("rule 1 (f.yaml, line 4) allows at most 5m"), "{error}");
}

#[test]
fn a_condition_that_cannot_be_told_is_an_error_and_no_pass() {
    let text = "locks: [{ match: { ref_protected: true }, name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}' }]";
    let old = JobFacts { protected: None, ..facts() };
    let error = decide(&config(text), &old, &JobVariables::default()).unwrap_err().to_string();
    assert!(error.contains("rule 1") && error.contains("runner 18.3"), "{error}");
}

#[test]
fn a_job_that_does_not_say_who_it_is_gets_no_name() {
    let nobody = JobFacts { host: None, project_path: None, ..facts() };
    for ask in [None, Some(("PIPELINE_LOCK", "db"))] {
        let error = decide(&config(""), &nobody, &ask.into_iter().collect()).unwrap_err();
        assert_eq!(error, PolicyError::NoIdentity);
    }
}

#[test]
fn a_shared_rule_is_not_passed_over_by_a_job_of_no_known_project() {
    let text = "locks: [{ name: s, shared: true, projects: 'infra/**' }, { name: [] }]";
    let nobody = JobFacts { project_path: None, project_full_path: None, ..facts() };
    let error = decide(&config(text), &nobody, &JobVariables::default()).unwrap_err();
    assert!(matches!(error, PolicyError::Untold { .. }), "{error}");
}
