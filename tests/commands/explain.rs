//! `explain`: which lock a job gets, and why.

use serde_json::Value;

use crate::{
    caller::in_job,
    harness::{Host, LOCK, Stage},
};

const RULES: &str = "\
locks:
  - match: { environment: 'production*', ref_protected: true }
    name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_ENVIRONMENT_NAME}'
    wait: 10m
  - match: { project: 'shop/**' }
    name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}'
    jobs_may_choose: false
";

#[test]
fn a_made_up_job_gets_its_rule_and_why_not_an_earlier_one() {
    let host = Host::local(RULES);
    let explain = |more: &[&str]| host.run(&[&["explain", "--project", "shop/web"], more].concat());
    explain(&[]).with_code(0).with_text(&[
        "rule 1",
        "doesn't match",
        "rule 2",
        "lock try.localhost/shop/web",
    ]);
    explain(&["--environment", "production/eu"]).with_code(0).with_text(&[
        "rule 1",
        "doesn't match",
        "lock try.localhost/shop/web\n",
    ]);
    let protected = ["--environment", "production/eu", "--var", "CI_COMMIT_REF_PROTECTED=true"];
    explain(&protected).with_code(0).with_text(&["lock try.localhost/shop/web/production/eu", "10m"]);
    let elsewhere = [&protected[..], &["--var", "CI_SERVER_HOST=git.example"]].concat();
    explain(&elsewhere).with_code(0).with_text(&["lock git.example/shop/web/production/eu"]);
    host.run(&["explain", "--project", "other/web"])
        .with_code(0)
        .with_text(&["no lock", "none of the rules"]);
    explain(&["--var", "PIPELINE_LOCK=eu"]).with_code(1).with_text(&["The job fails: ", "PIPELINE_LOCK"]);
    host.nothing_is_left();
}

#[test]
fn a_made_up_job_is_told_what_try_does() {
    let host = Host::local(
        "locks: [{ name: '{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_PROJECT_ID}/{CI_COMMIT_SHA}', scope: pipeline }]",
    );
    let named = "try.localhost/shop/web/1/0000000000000000000000000000000000000000";
    host.run(&["explain", "--project", "shop/web"]).with_code(0).with_text(&[named]);
    host.run(&["try", "--project", "shop/web", "--", "true"]).with_code(0).with_text(&[named]);
}

#[test]
fn programs_get_the_decision_or_the_error() {
    let host = Host::local(RULES);
    let explain = |code: i32, more: &[&str]| -> Value {
        let ended = host.run(&[&["explain", "--json", "--project", "shop/web"], more].concat());
        serde_json::from_slice(&ended.with_code(code).out).expect("JSON")
    };
    let decision = explain(0, &["--ref", "feature"]);
    assert_eq!(decision["locks"][0]["name"], "try.localhost/shop/web");
    assert_eq!(decision["rule"]["number"], 2);
    assert_eq!(decision["passed_over"][0]["rule"]["number"], 1);
    let error = explain(1, &["--var", "PIPELINE_LOCK=eu"]);
    assert!(error["error"].as_str().unwrap().contains("PIPELINE_LOCK"), "{error}");
}

#[test]
fn a_job_hears_about_itself_and_a_file_about_its_job() {
    let host = Host::local("");
    let job = host.job(7).variable("PIPELINE_LOCK_WAIT", "3m");
    let mut command = in_job(&host, &job, &["explain"]);
    command.env("PIPELINE_LOCK_NAME", LOCK).env("PIPELINE_LOCK_FENCE", "7");
    let here = Stage::start(command, false).end().with_code(0);
    let here = here.with_text(&[&format!("lock {LOCK}\n"), "3m", "PIPELINE_LOCK_WAIT"]);
    assert!(!here.text().contains("no effect"), "what the job was told is no request: {}", here.text());
    let attempt = job.folder();
    let file = attempt.dir.join("response.json").display().to_string();
    let handed = host.run(&["explain", "--job-json", &file]).with_code(0);
    handed.with_text(&[&format!("lock {LOCK}\n"), "3m", "PIPELINE_LOCK_WAIT"]);
    let other = host.run(&["explain", "--job-json", &file, "--var", "PIPELINE_LOCK=eu"]).with_code(0);
    other.with_text(&[&format!("lock {LOCK}/eu\n")]);
}

#[test]
fn who_asks_about_no_job_hears_how_to_name_one() {
    let host = Host::local("");
    host.run(&["explain"]).with_code(2).with_text(&["--project"]);
    host.run(&["explain", "--project", "a/b", "--var", "nonsense"]).with_code(2).with_text(&["NAME=VALUE"]);
    host.run(&["explain", "--project", ""]).with_code(2).with_text(&["--project"]);
    host.run(&["explain", "--project", "a/b", "--job-json", "x"]).with_code(2);
    host.run(&["explain", "--job-json", "/no/such/file"]).with_code(3).with_text(&["/no/such/file"]);
}
