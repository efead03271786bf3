//! What a file may say about how locks are taken, and what an operator is told of a wrong one.

use std::time::Duration;

use super::environment::Environment;
use super::*;
use crate::lock::{Mode, Order};

fn parse(text: &str) -> Result<Config, String> {
    let environment = Environment { root: true, ..Environment::default() };
    Config::parse(text, Source::File("f.yaml".into()), &environment).map_err(|error| error.to_string())
}

/// A rule with `keys`, which begin at line 3, column 5.
fn rule(keys: &str) -> Result<Manner, String> {
    let mut config =
        parse(&format!("locks:\n  - name: '{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}'\n    {keys}"))?;
    Ok(config.rules.remove(0).manner)
}

#[test]
fn every_key_of_a_rule_is_read() {
    let read = rule(
        "mode: shared\n    limit: 2\n    resources: [board-a, 'board b']\n    order: newest\n    supersede: true\n    \
         priority: -5\n    max_priority: 50\n    scope: pipeline\n    linger: 30s\n    wait: 0\n    \
         on_timeout: requeue\n    max_queue: 10\n    jobs_may_share: true",
    );
    let all = Manner {
        mode: Some(Mode::Shared),
        limit: Some(2),
        resources: vec!["board-a".into(), "board b".into()],
        order: Some(Order::Newest),
        supersede: Some(true),
        priority: Some(-5),
        max_priority: Some(50),
        scope: Some(Scope::Pipeline),
        linger: Some(Duration::from_secs(30)),
        wait: Some(Duration::ZERO),
        on_timeout: Some(OnTimeout::Requeue),
        max_queue: Some(10),
        jobs_may_share: Some(true),
    };
    assert_eq!(read, Ok(all));
    assert_eq!(rule("opt_out: true"), Ok(Manner::default()));
}

#[test]
fn a_shared_rule_has_the_same_keys() {
    let text = "locks: [{ name: s, shared: true, projects: '**', mode: shared, limit: 4, scope: pipeline }]";
    let manner = parse(text).unwrap().rules.remove(0).manner;
    assert_eq!(
        (manner.mode, manner.limit, manner.scope),
        (Some(Mode::Shared), Some(4), Some(Scope::Pipeline))
    );
}

#[test]
fn the_keys_of_the_top_level_are_read_and_have_their_defaults() {
    let config =
        parse("max_waiting: 20\nhistory: false\non_lost: continue\non_timeout: requeue\nwait: 0").unwrap();
    assert_eq!((config.max_waiting, config.history), (Some(20), false));
    assert_eq!((config.on_lost, config.on_timeout), (OnLost::Continue, OnTimeout::Requeue));
    assert_eq!(config.wait, Duration::ZERO);
    let config = parse("").unwrap();
    assert_eq!((config.max_waiting, config.history), (None, true));
    assert_eq!((config.on_lost, config.on_timeout), (OnLost::Stop, OnTimeout::Fail));
}

#[test]
fn the_bounds_themselves_are_allowed() {
    for keys in [
        "limit: 1",
        "limit: 100",
        "priority: -100",
        "priority: 100",
        "max_queue: 1",
        "max_queue: 10000",
        "{ scope: pipeline, linger: 0 }",
        "{ scope: pipeline, linger: 1h }",
        "wait: 168h",
        "{ priority: 5, max_priority: 5 }",
        "{ limit: 2, resources: [a, b] }",
        "resources: only-one",
    ] {
        let keys = keys.trim_matches(['{', '}', ' ']).replace(", linger", "\n    linger");
        let keys = keys.replace(", max", "\n    max").replace(", res", "\n    res");
        assert!(rule(&keys).is_ok(), "{keys}: {:?}", rule(&keys));
    }
    assert!(parse("max_waiting: 1").is_ok() && parse("max_waiting: 10000").is_ok());
}

#[test]
fn a_wrong_key_of_a_rule_names_its_place_and_the_way_out() {
    let long = format!("resources: [{}]", "x".repeat(101));
    let many = format!("resources: [{}]", (0..101).map(|n| format!("r{n}")).collect::<Vec<_>>().join(", "));
    for (keys, start, part) in [
        ("mode: share", "3:11: `mode`", "did you mean `shared`?"),
        ("mode: Exclusive", "3:11: `mode`", "did you mean `exclusive`?"),
        ("limit: 0", "3:12: `limit` is 0", "from 1 to 100"),
        ("limit: 101", "3:12: `limit` is 101", "from 1 to 100"),
        ("limit: 4294967297", "3:12: `limit` is 4294967297", "from 1 to 100"),
        ("limit: -1", "3:12: `limit` is -1", "from 1 to 100"),
        ("limit: 1.5", "3:12: `limit` is to be a whole number", "1.5"),
        ("limit: '2'", "3:12: `limit` is to be a whole number", "the text \"2\""),
        ("limit: two", "3:12: `limit` is to be a whole number", "the text \"two\""),
        ("limits: 2", "3:5: unknown key `limits`", "did you mean `limit`?"),
        ("resources: []", "3:16: `resources`", "name at least one"),
        ("resources: [a, a]", "3:20: `resources`", "`a` is there twice"),
        ("resources: 'a,b'", "3:16: `resources`", "write a list"),
        ("resources: [' a']", "3:17: `resources`", "white space"),
        ("resources: [\"a\\tb\"]", "3:17: `resources`", "the character \\u{9}"),
        ("resources: [\"a\\u202eb\"]", "3:17: `resources`", "the character \\u{202e}"),
        ("resources: [1, 2]", "3:17: `resources` is to be a text", "in quotes"),
        ("resources: ['']", "3:17: `resources`", "is empty"),
        (&long, "3:17: `resources`", "101 bytes long; 100 are allowed"),
        (&many, "3:16: `resources`", "at most 100"),
        ("resources: [a, b]\n    limit: 3", "4:12: `limit`: is 3", "names 2"),
        ("order: last", "3:12: `order`", "`first` or `newest`"),
        ("order: newst", "3:12: `order`", "did you mean `newest`?"),
        ("supersede: newest", "3:16: `supersede`", "true or false"),
        ("priority: 101", "3:15: `priority` is 101", "from -100 to 100"),
        ("priority: high", "3:15: `priority`", "a whole number"),
        ("priority: 5\n    max_priority: 4", "4:19: `max_priority`", "below the `priority` 5"),
        ("max_priority: -1", "3:19: `max_priority`", "below the `priority` 0"),
        ("scope: project", "3:12: `scope`", "`job` or `pipeline`"),
        ("scope: pipline", "3:12: `scope`", "did you mean `pipeline`?"),
        ("linger: 1m", "3:13: `linger`", "only beside `scope: pipeline`"),
        ("scope: job\n    linger: 1m", "4:13: `linger`", "only beside `scope: pipeline`"),
        ("scope: pipeline\n    linger: 61m", "4:13: `linger` is 61m", "from 0s to 1h"),
        ("scope: pipeline\n    linger: 5", "4:13: `linger`", "5s, 5m or 5h"),
        ("wait: 169h", "3:11: `wait` is 169h", "from 0s to 168h"),
        ("on_timeout: retry", "3:17: `on_timeout`", "`fail` or `requeue`"),
        ("max_queue: 0", "3:16: `max_queue` is 0", "from 1 to 10000"),
        ("max_queue: 10001", "3:16: `max_queue` is 10001", "from 1 to 10000"),
        ("jobs_may_share: sure", "3:21: `jobs_may_share`", "true or false"),
    ] {
        let error = rule(keys).unwrap_err();
        assert!(error.starts_with(&format!("f.yaml:{start}")) && error.contains(part), "{keys}: {error}");
        assert!(!error.contains(char::is_control), "{keys}: {error:?}");
    }
}

#[test]
fn a_wrong_key_of_the_top_level_names_its_place_and_the_way_out() {
    for (text, start, part) in [
        ("max_waiting: 0", "1:14: `max_waiting` is 0", "from 1 to 10000"),
        ("max_waiting: none", "1:14: `max_waiting` is to be a whole number", "the text \"none\""),
        ("max_wait: 5", "1:1: unknown key `max_wait`", "did you mean `max_waiting`?"),
        ("history: 5", "1:10: `history` is to be true or false", "the number 5"),
        ("on_lost: go-on", "1:10: `on_lost`", "`stop` or `continue`"),
        ("on_lost: contineu", "1:10: `on_lost`", "did you mean `continue`?"),
        ("on_timeout: again", "1:13: `on_timeout`", "`fail` or `requeue`"),
        ("limit: 3", "1:1: unknown key `limit`", "belongs under `locks:`"),
        ("scope: pipeline", "1:1: unknown key `scope`", "belongs under `locks:`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(&format!("f.yaml:{start}")) && error.contains(part), "{text}: {error}");
    }
}

#[test]
fn every_key_and_variable_is_on_the_page_and_in_the_annotated_file() {
    let page = include_str!("../../docs/configuration.md");
    for key in super::settings::FILE.keys.iter().chain(super::rule::RULE.keys) {
        assert!(page.contains(&format!("`{key}`")), "docs/configuration.md doesn't name `{key}`");
    }
    for key in super::rule::RULE.keys {
        let named = DEFAULT_FILE.lines().filter_map(|line| line.strip_prefix("#   "));
        let named = named.filter_map(|line| line.get(..18)).any(|keys| keys.contains(key));
        assert!(named || DEFAULT_FILE.contains(&format!("(`{key}` is the same.)")), "`{key}`");
    }
    for variable in super::ask::OURS {
        assert!(page.contains(&format!("`{variable}")), "docs/configuration.md doesn't name {variable}");
    }
}
