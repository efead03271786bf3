//! On what terms a job takes a lock: what the file says, and what the job may change about it.

use std::time::Duration;

use super::*;
use crate::lock::{Limit, Line, Mode, Order, Owner};

const OWN: &str = "gitlab.example.com/infra/network/edge-router";
const V19: &[u8] = include_bytes!("../../tests/fixtures/job-v19.json");
const V14: &[u8] = include_bytes!("../../tests/fixtures/job-v14.json");

fn config(text: &str) -> Config {
    let environment = Environment { root: true, ..Environment::default() };
    Config::parse(text, Source::File("f.yaml".into()), &environment).unwrap()
}

fn facts() -> JobFacts {
    JobFacts::from_json(V19).unwrap()
}

fn decision(text: &str, variables: &[(&str, &str)]) -> Result<Decision, String> {
    let variables = variables.iter().copied().collect();
    decide(&config(text), &facts(), &variables).map_err(|error| error.to_string())
}

/// A file of one rule with `keys` for the project's lock.
fn rule(keys: &str) -> String {
    format!("locks: [{{ name: '{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}', {keys} }}]")
}

/// The lock that a job gets by a rule with `keys`.
fn lock(keys: &str, variables: &[(&str, &str)]) -> Result<WantedLock, String> {
    Ok(decision(&rule(keys), variables)?.locks.remove(0))
}

fn refused(keys: &str, variables: &[(&str, &str)]) -> String {
    lock(keys, variables).unwrap_err()
}

const STRICT: &str = "opt_out: false";

#[test]
fn a_job_that_asks_for_nothing_gets_what_its_rule_says() {
    let keys = "mode: shared, resources: [a, b], order: newest, supersede: true, priority: 3, scope: pipeline, \
                linger: 9s, wait: 7m, on_timeout: requeue, max_queue: 5";
    let lock = lock(keys, &[]).unwrap();
    assert_eq!(
        (lock.mode, lock.limit, lock.resources),
        (Mode::Shared, Limit(2), vec!["a".into(), "b".into()])
    );
    assert_eq!((lock.order, lock.priority, lock.max_queue), (Order::Newest, 3, Some(5)));
    assert_eq!(lock.line, Some(Line::new("gitlab.example.com/278 branch main", 90_417)));
    assert_eq!((lock.scope, lock.linger), (Scope::Pipeline, Duration::from_secs(9)));
    assert_eq!((lock.wait, lock.on_timeout), (Duration::from_secs(420), OnTimeout::Requeue));
}

#[test]
fn how_many_may_hold_follows_from_mode_limit_and_resources() {
    let limit = |keys: &str| lock(keys, &[]).unwrap().limit;
    assert_eq!(limit("mode: exclusive"), Limit(1));
    assert_eq!(limit("mode: shared"), Mode::Shared.default_limit());
    assert_eq!(limit("limit: 3"), Limit(3));
    assert_eq!(limit("mode: shared, limit: 3"), Limit(3));
    assert_eq!(limit("resources: [a, b, c]"), Limit(3));
}

#[test]
fn a_job_may_always_be_alone() {
    for keys in ["mode: shared", "mode: shared, limit: 4, opt_out: false", "mode: shared, resources: [a, b]"]
    {
        let lock = lock(keys, &[("PIPELINE_LOCK_MODE", "exclusive")]).unwrap();
        assert_eq!((lock.mode, lock.limit), (Mode::Exclusive, Limit(1)), "{keys}");
    }
    let pool = lock("resources: [a, b]", &[("PIPELINE_LOCK_MODE", "exclusive")]).unwrap();
    assert_eq!(pool.limit, Limit(2), "what the rule says already changes nothing");
}

#[test]
fn a_job_shares_an_exclusive_lock_only_where_it_could_go_without_it() {
    let share = [("PIPELINE_LOCK_MODE", "shared")];
    assert_eq!(lock("mode: exclusive", &share).unwrap().limit, Mode::Shared.default_limit());
    assert_eq!(lock("limit: 3", &share).unwrap().limit, Limit(3), "a limit that is written stays");
    assert_eq!(lock("jobs_may_share: true, opt_out: false", &share).unwrap().mode, Mode::Shared);
    for keys in [STRICT, "jobs_may_choose: false", "jobs_may_share: false"] {
        let error = refused(keys, &share);
        assert!(error.starts_with("PIPELINE_LOCK_MODE is `shared`, but rule 1 (f.yaml, line 1)"), "{error}");
        assert!(error.contains("`mode: exclusive`") && error.contains("`jobs_may_share: true`"), "{error}");
    }
    let shared = |keys: &str| format!("locks: [{{ name: s, shared: true, projects: '**', {keys} }}]");
    assert!(decision(&shared("wait: 1m"), &share).unwrap_err().contains("jobs_may_share"));
    assert_eq!(decision(&shared("jobs_may_share: true"), &share).unwrap().locks[0].mode, Mode::Shared);
}

#[test]
fn a_job_gives_way_at_will_and_goes_first_only_as_far_as_the_rule_lets_it() {
    let priority = |keys: &str, asked| lock(keys, &[("PIPELINE_LOCK_PRIORITY", asked)]).map(|l| l.priority);
    assert_eq!(priority("wait: 1m", "-100"), Ok(-100));
    assert_eq!(priority("priority: 5", "5"), Ok(5));
    assert_eq!(priority("priority: 5, max_priority: 50", "50"), Ok(50));
    assert_eq!(lock("priority: 5, max_priority: 50", &[]).unwrap().priority, 5);
    let error = priority("priority: 5", "6").unwrap_err();
    assert_eq!(
        error,
        "PIPELINE_LOCK_PRIORITY is 6, but rule 1 (f.yaml, line 1) allows at most 5 (`max_priority`): lower it or \
         drop it"
    );
    let nowhere = "locks: [{ match: { ref: other }, name: [] }]";
    let error = decision(nowhere, &[("PIPELINE_LOCK", "db"), ("PIPELINE_LOCK_PRIORITY", "1")]).unwrap_err();
    assert!(error.contains("f.yaml, which has no rule for this job, allows at most 0"), "{error}");
}

#[test]
fn a_job_says_what_becomes_of_it_when_it_has_waited_too_long() {
    let text = |rule: &str| {
        format!("on_timeout: requeue\nlocks: [{{ name: '{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}'{rule} }}]")
    };
    let on_timeout =
        |rule: &str, ask: &[(&str, &str)]| decision(&text(rule), ask).unwrap().locks[0].on_timeout;
    assert_eq!(on_timeout("", &[]), OnTimeout::Requeue);
    assert_eq!(on_timeout(", on_timeout: fail", &[]), OnTimeout::Fail);
    let ask = [("PIPELINE_LOCK_ON_TIMEOUT", "requeue")];
    assert_eq!(on_timeout(", on_timeout: fail", &ask), OnTimeout::Requeue);
}

#[test]
fn a_wait_of_nothing_needs_no_unit() {
    assert_eq!(lock("wait: 1m", &[("PIPELINE_LOCK_WAIT", "0")]).unwrap().wait, Duration::ZERO);
    assert_eq!(lock("wait: 0", &[]).unwrap().wait, Duration::ZERO);
    let error = refused("wait: 0", &[("PIPELINE_LOCK_WAIT", "1s")]);
    assert!(error.contains("rule 1 (f.yaml, line 1) allows at most 0s"), "{error}");
}

#[test]
fn another_scope_than_the_rules_needs_leave() {
    let scope =
        |keys: &str, asked: &str| lock(keys, &[("PIPELINE_LOCK_SCOPE", asked)]).map(|l| (l.scope, l.linger));
    let pipeline = |seconds| Ok((Scope::Pipeline, Duration::from_secs(seconds)));
    assert_eq!(scope("wait: 1m", "pipeline"), pipeline(120));
    assert_eq!(scope("scope: pipeline, linger: 0", "pipeline"), pipeline(0));
    assert_eq!(scope("scope: pipeline", "job"), Ok((Scope::Job, Duration::ZERO)));
    assert_eq!(scope("opt_out: false, scope: pipeline", "pipeline"), pipeline(120));
    assert_eq!(scope(STRICT, "job"), Ok((Scope::Job, Duration::ZERO)));
    let error = scope(STRICT, "pipeline").unwrap_err();
    assert!(
        error.starts_with("PIPELINE_LOCK_SCOPE is `pipeline`, but rule 1") && error.contains("`scope: job`")
    );
    let error = scope("opt_out: false, scope: pipeline", "job").unwrap_err();
    assert!(error.contains("`scope: pipeline`"), "{error}");
}

#[test]
fn a_child_pipeline_joins_its_parents_hold_where_it_may() {
    let parent = [("PIPELINE_LOCK_PARENT", "90400")];
    let decided = decision(&rule("scope: pipeline"), &parent).unwrap();
    assert_eq!(decided.parent, Some(90_400));
    let owner = facts().pipeline_owner(decided.parent);
    assert_eq!(owner, Some(Owner::pipeline("gitlab.example.com", 278, 90_400)));
    assert_eq!(decision(&rule("scope: job"), &parent).unwrap().parent, None, "no lock is its pipeline's");
    let error = refused("scope: pipeline, opt_out: false", &parent);
    assert!(
        error.starts_with("PIPELINE_LOCK_PARENT is `90400`") && error.contains("jobs_may_share"),
        "{error}"
    );
    let own = [("PIPELINE_LOCK_PARENT", "90417")];
    assert!(decision(&rule("scope: pipeline, opt_out: false"), &own).is_ok(), "it is in its own hold anyway");
}

#[test]
fn the_last_job_of_a_pipeline_ends_its_hold() {
    let after = [("PIPELINE_LOCK_RELEASE", "after")];
    let decided = decision(&rule("scope: pipeline"), &after).unwrap();
    assert_eq!((decided.release_after, decided.notes), (true, vec![]));
    let decided = decision(&rule("scope: job"), &after).unwrap();
    assert!(!decided.release_after);
    assert!(decided.notes[0].starts_with("PIPELINE_LOCK_RELEASE has no effect"), "{:?}", decided.notes);
    assert!(!decision(&rule("scope: pipeline"), &[]).unwrap().release_after);
}

#[test]
fn a_child_pipeline_is_no_newer_than_its_parent() {
    let pipeline =
        |parent| lock("supersede: true", &[("PIPELINE_LOCK_PARENT", parent)]).unwrap().line.unwrap().pipeline;
    assert_eq!(pipeline("90400"), 90_400);
    assert_eq!(pipeline("99999999"), 90_417, "no word of the author makes it newer");
}

#[test]
fn a_line_is_of_one_instance_project_and_ref() {
    let line = |change: fn(&mut JobFacts)| {
        let mut facts = facts();
        change(&mut facts);
        decide(&config(&rule("supersede: true")), &facts, &JobVariables::default()).unwrap().locks[0]
            .line
            .clone()
    };
    let first = line(|_| ());
    assert_eq!(first, line(|facts| facts.job_id = 1));
    let others: [fn(&mut JobFacts); 4] = [
        |facts| facts.host = Some("other".into()),
        |facts| facts.project_id = Some(1),
        |facts| facts.git_ref = Some("develop".into()),
        |facts| facts.is_tag = true,
    ];
    assert!(others.into_iter().all(|change| line(change) != first));
}

#[test]
fn what_the_runner_does_not_say_is_an_error_where_it_is_needed() {
    let untold = |keys: &str, change: fn(&mut JobFacts)| {
        let mut facts = JobFacts::from_json(V14).unwrap();
        change(&mut facts);
        decide(&config(&rule(keys)), &facts, &JobVariables::default()).map_err(|error| error.to_string())
    };
    let error = untold("supersede: true", |facts| facts.pipeline_id = None).unwrap_err();
    assert!(
        error.starts_with("`supersede: true` of rule 1 (f.yaml, line 1) needs the job's pipeline"),
        "{error}"
    );
    assert!(error.contains("upgrade the runner"), "{error}");
    assert!(untold("supersede: true", |facts| facts.git_ref = None).unwrap_err().contains("job's ref"));
    assert!(untold("supersede: true", |facts| facts.project_id = None).is_ok(), "the path says it as well");
    let error = untold("scope: pipeline", |facts| facts.project_id = None).unwrap_err();
    assert!(
        error.starts_with("`scope: pipeline` of rule 1 (f.yaml, line 1) needs the job's project"),
        "{error}"
    );
    assert!(
        untold("scope: pipeline", |facts| facts.pipeline_id = None).unwrap_err().contains("CI_PIPELINE_ID")
    );
    assert!(untold("wait: 1m", |facts| (facts.pipeline_id, facts.project_id) = (None, None)).is_ok());
    assert!(untold("scope: pipeline, supersede: true", |_| ()).is_ok(), "the oldest runner says enough");
}

#[test]
fn a_job_that_overrides_its_pipelines_id_gets_no_pipelines_hold() {
    let json = String::from_utf8(V14.to_vec()).unwrap();
    let mut job: serde_json::Value = serde_json::from_str(&json).unwrap();
    let entry = serde_json::json!({"key": "CI_PIPELINE_ID", "value": "1", "public": true});
    job["variables"].as_array_mut().unwrap().push(entry);
    let facts = JobFacts::from_json(job.to_string().as_bytes()).unwrap();
    let variables = [("CI_PIPELINE_ID", "1")].into_iter().collect();
    for keys in ["scope: pipeline", "supersede: true"] {
        assert!(decide(&config(&rule(keys)), &facts, &variables).is_err(), "{keys}");
    }
}

const BOARDS: &str = r#"
locks:
  - { match: { job: "deploy*" }, name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/app", limit: 2, priority: 1 }
  - { match: { job: "other" }, name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/else", limit: 9, priority: 90 }
  - { name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/boards", resources: [a, b, c], wait: 9m }
  - { name: hardware, shared: true, projects: "**", on_request: true, resources: [x, y] }
"#;

#[test]
fn a_lock_that_a_job_names_has_the_settings_of_the_rule_that_makes_its_name() {
    let lock = |name: &str| decision(BOARDS, &[("PIPELINE_LOCK", name)]).unwrap().locks.remove(0);
    assert_eq!((lock("app").limit, lock("app").priority), (Limit(2), 1));
    assert_eq!((lock("boards").limit, lock("boards").wait), (Limit(3), Duration::from_secs(540)));
    assert_eq!(lock(&format!("{OWN}/boards")).resources, ["a", "b", "c"]);
    assert_eq!((lock("hardware").limit, lock("hardware").resources.len()), (Limit(2), 2));
    let made_up = lock("db");
    assert_eq!((made_up.limit, made_up.priority), (Limit(1), 1), "the limit is that of the rule's own lock");
    let boards = decision(&rule("resources: [a, b, c]"), &[("PIPELINE_LOCK", "db")]).unwrap().locks.remove(0);
    assert_eq!((boards.limit, boards.resources), (Limit(1), vec![]), "so are the resources");
    let unmatched = lock("else");
    assert_eq!((unmatched.limit, unmatched.priority), (Limit(1), 1), "that rule is not for this job");
}
