//! What people and programs read of a decision.

use serde_json::json;

use super::*;

const FILE: &str = r#"wait: 20m
locks:
  - match: { ref: develop }
    name: []
  - match: { ref: main }
    name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/app"
    resources: [board-a, board-b]
    supersede: true
    scope: pipeline
    max_priority: 5
"#;

fn explain(text: &str, variables: &[(&str, &str)]) -> Explanation {
    let environment = Environment { root: true, ..Environment::default() };
    let config = Config::parse(text, Source::File("/etc/f.yaml".into()), &environment).unwrap();
    let facts = JobFacts::from_json(include_bytes!("../../tests/fixtures/job-v19.json")).unwrap();
    decide(&config, &facts, &variables.iter().copied().collect()).unwrap().explain()
}

#[test]
fn people_read_which_rule_it_was_and_where_each_setting_comes_from() {
    let variables = [
        ("PIPELINE_LOCK_PRIORITY", "5"),
        ("PIPELINE_LOCK_RELEASE", "after"),
        ("PIPELINE_LOCK_PARENT", "90400"),
    ];
    let text = explain(FILE, &variables).to_string();
    let expected = "\
rule 1 (/etc/f.yaml, line 3) doesn't match: ref `main` is not `develop`
rule 2 (/etc/f.yaml, line 5) is the first that matches

lock gitlab.example.com/infra/network/edge-router/app
  mode        exclusive         default
  limit       2                 rule 2, /etc/f.yaml, line 7
  resources   board-a, board-b  rule 2, /etc/f.yaml, line 7
  order       first             default
  supersede   true              rule 2, /etc/f.yaml, line 8
  priority    5                 PIPELINE_LOCK_PRIORITY
  max_queue   no bound          default
  wait        20m               /etc/f.yaml, line 1
  on_timeout  fail              default
  scope       pipeline          rule 2, /etc/f.yaml, line 9
  linger      2m                default
  pipeline 90400 of gitlab.example.com/278 branch main

The holds are those of the parent pipeline 90400 (PIPELINE_LOCK_PARENT).

The job's end ends its pipeline's holds (PIPELINE_LOCK_RELEASE: after).";
    assert_eq!(text, expected);
}

#[test]
fn programs_read_the_same() {
    let value = serde_json::to_value(explain(FILE, &[("PIPELINE_LOCK_WAIT", "5m")])).unwrap();
    assert_eq!(value["rule"], json!({"number": 2, "file": "/etc/f.yaml", "line": 5}));
    assert_eq!(
        value["passed_over"],
        json!([{
            "rule": {"number": 1, "file": "/etc/f.yaml", "line": 3},
            "why": "ref `main` is not `develop`",
        }])
    );
    let lock = &value["locks"][0];
    assert_eq!(lock["name"], "gitlab.example.com/infra/network/edge-router/app");
    assert_eq!(lock["line"], json!({"key": "gitlab.example.com/278 branch main", "pipeline": 90_417}));
    let rule = |line: u64| json!({"by": "rule", "number": 2, "file": "/etc/f.yaml", "line": line});
    let settings = &lock["settings"];
    assert_eq!(settings["resources"], json!({"value": ["board-a", "board-b"], "from": rule(7)}));
    assert_eq!(settings["scope"], json!({"value": "pipeline", "from": rule(9)}));
    assert_eq!(settings["mode"], json!({"value": "exclusive", "from": {"by": "default"}}));
    let variable = json!({"by": "variable", "name": "PIPELINE_LOCK_WAIT"});
    assert_eq!(settings["wait"], json!({"value": "5m", "from": variable}));
    assert_eq!((&value["release_after"], &value["parent"]), (&json!(false), &json!(null)));
}

#[test]
fn a_bound_that_is_not_there_is_null() {
    let text = "locks: [{ name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}', mode: shared }]";
    let value = serde_json::to_value(explain(text, &[])).unwrap();
    let settings = &value["locks"][0]["settings"];
    for key in ["limit", "max_queue", "resources", "linger"] {
        assert_eq!(settings[key]["value"], json!(null), "{key}");
    }
}

#[test]
fn a_job_without_a_lock_is_told_why() {
    let text = explain("locks: [{ match: { ref: other }, name: [] }]", &[]).to_string();
    assert_eq!(
        text,
        "rule 1 (/etc/f.yaml, line 1) doesn't match: ref `main` is not `other`\n\
         no lock: none of the rules of /etc/f.yaml matches"
    );
}
