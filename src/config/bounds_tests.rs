//! No job gets more than the file allows, whatever its variables say: tried with many rules and jobs.

use proptest::prelude::*;

use super::*;
use crate::lock::{Mode, PRIORITIES};

fn facts() -> JobFacts {
    JobFacts::from_json(include_bytes!("../../tests/fixtures/job-v19.json")).unwrap()
}

/// A line of a rule, or none.
fn key(name: &'static str, values: &'static [&'static str]) -> BoxedStrategy<String> {
    let lines = prop::sample::select(values).prop_map(move |value| format!("    {name}: {value}\n"));
    prop_oneof![Just(String::new()), lines].boxed()
}

/// A rule's keys. Some files that come of it are refused: those are passed over.
fn keys() -> impl Strategy<Value = String> {
    const TRUTH: &[&str] = &["true", "false"];
    let keys = vec![
        key("mode", &["exclusive", "shared"]),
        key("limit", &["1", "2", "5"]),
        key("resources", &["[a, b]", "[a, b, c, d, e]"]),
        key("order", &["first", "newest"]),
        key("supersede", TRUTH),
        key("priority", &["-100", "-1", "0", "7"]),
        key("max_priority", &["0", "8", "100"]),
        key("scope", &["job", "pipeline"]),
        key("wait", &["0", "1m", "2h"]),
        key("on_timeout", &["fail", "requeue"]),
        key("max_queue", &["1", "10"]),
        key("jobs_may_share", TRUTH),
        key("opt_out", TRUTH),
        key("jobs_may_choose", TRUTH),
        key("shared", &["true\n    projects: '**'"]),
    ];
    keys.prop_map(|lines| lines.concat())
}

/// What a job's author may write, right or wrong.
fn variables() -> impl Strategy<Value = Vec<(String, String)>> {
    let one = |name: &'static str, values: &'static [&'static str]| {
        let set =
            prop::sample::select(values).prop_map(move |value| Some((name.to_owned(), value.to_owned())));
        prop_oneof![1 => Just(None), 2 => set].boxed()
    };
    vec![
        one("PIPELINE_LOCK_MODE", &["exclusive", "shared"]),
        one("PIPELINE_LOCK_PRIORITY", &["-100", "-2", "0", "7", "8", "100", "101"]),
        one("PIPELINE_LOCK_SCOPE", &["job", "pipeline"]),
        one("PIPELINE_LOCK_WAIT", &["0", "30s", "1h", "168h"]),
        one("PIPELINE_LOCK_ON_TIMEOUT", &["fail", "requeue"]),
        one("PIPELINE_LOCK_RELEASE", &["after"]),
        one("PIPELINE_LOCK_PARENT", &["1", "90417", "18446744073709551615"]),
        one("PIPELINE_LOCK", &["app", "gitlab.example.com/infra/network/edge-router/app", "s/app"]),
        one("CI_PIPELINE_ID", &["1", "99999999"]),
        one("CI_COMMIT_REF_NAME", &["other"]),
    ]
    .prop_map(|variables| variables.into_iter().flatten().collect())
}

fn file(keys: &str) -> Option<Config> {
    let name = if keys.contains("shared: true") { "s/app" } else { "{CI_SERVER_HOST}/{CI_PROJECT_PATH}/app" };
    let text = format!("wait: 20m\nlocks:\n  - name: '{name}'\n{keys}");
    let environment = Environment { root: true, ..Environment::default() };
    Config::parse(&text, Source::BuiltIn, &environment).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_combination_of_variables_gets_more_than_the_file_allows(keys in keys(), variables in variables()) {
        let Some(config) = file(&keys) else { return Err(TestCaseError::reject("a file that is wrong")) };
        let rule = &config.rules[0];
        let by_file = decide(&config, &facts(), &JobVariables::default()).unwrap().locks.remove(0);
        let decided = decide(&config, &facts(), &variables.iter().cloned().collect());
        let Ok(decided) = decided else { return Ok(()) };
        let Some(lock) = decided.locks.first().filter(|lock| lock.name == by_file.name) else { return Ok(()) };

        prop_assert!(lock.wait <= by_file.wait);
        prop_assert!(lock.priority <= rule.manner.max_priority.unwrap_or(by_file.priority));
        prop_assert!(PRIORITIES.contains(&lock.priority));
        prop_assert_eq!((lock.order, lock.max_queue), (by_file.order, by_file.max_queue));
        prop_assert_eq!(&lock.resources, &by_file.resources);
        let numbers = (lock.line.as_ref().map(|l| l.pipeline), by_file.line.as_ref().map(|l| l.pipeline));
        prop_assert!(numbers.0 <= numbers.1 && numbers.0.is_some() == numbers.1.is_some());
        prop_assert_eq!(lock.line.as_ref().map(|l| &l.key), by_file.line.as_ref().map(|l| &l.key));
        if rule.manner.limit.is_some() || !rule.manner.resources.is_empty() {
            prop_assert!(lock.limit <= by_file.limit);
        }

        let explicit = rule.manner.jobs_may_share;
        let unbound = rule.shared.is_none() && rule.opt_out && rule.jobs_may_choose;
        if explicit == Some(false) || (explicit.is_none() && !unbound) {
            prop_assert!(lock.mode == by_file.mode || lock.mode == Mode::Exclusive);
            prop_assert!(lock.limit <= by_file.limit);
            prop_assert_eq!(lock.scope, by_file.scope);
            prop_assert!(decided.parent.is_none_or(|parent| Some(parent) == facts().pipeline_id));
        }
        prop_assert!(lock.scope == Scope::Pipeline || !decided.release_after && decided.parent.is_none());
        prop_assert!(!(lock.mode == Mode::Exclusive && by_file.mode == Mode::Shared) || lock.limit.0 == 1);
    }

    #[test]
    fn a_parent_reaches_no_pipeline_of_another_project(
        project in 1u64..4, other in 1u64..4, pipeline in 1u64..9, parent in proptest::option::of(1u64..9),
    ) {
        let of = |project| JobFacts { project_id: Some(project), pipeline_id: Some(pipeline), ..facts() };
        prop_assume!(project != other);
        for theirs in 1..9 {
            prop_assert_ne!(of(project).pipeline_owner(parent), of(other).pipeline_owner(Some(theirs)));
        }
    }

    #[test]
    fn every_decision_explains_itself(keys in keys(), variables in variables()) {
        let Some(config) = file(&keys) else { return Err(TestCaseError::reject("a file that is wrong")) };
        let Ok(decided) = decide(&config, &facts(), &variables.iter().cloned().collect()) else { return Ok(()) };
        let explanation = decided.explain();
        let text = explanation.to_string();
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        prop_assert!(serde_json::to_value(&explanation).is_ok());
        for (name, _) in variables.iter().filter(|(name, _)| name == "PIPELINE_LOCK_WAIT") {
            prop_assert!(text.contains(name.as_str()), "{text}");
        }
    }
}
