//! Whole files: what is read, and what an operator is told of a wrong one.

use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::settings::FILE;
use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
    Config::parse(text, Source::File("f.yaml".into()), &environment).map_err(|error| error.to_string())
}

fn error(text: &str) -> String {
    parse(text).unwrap_err()
}

#[test]
fn the_annotated_file_says_what_the_defaults_are() {
    let mut annotated = parse(DEFAULT_FILE).unwrap();
    let mut nothing = parse("").unwrap();
    for config in [&mut annotated, &mut nothing] {
        config.lines = <_>::default();
        config.rules.iter_mut().for_each(|rule| (rule.line, rule.lines) = (None, <_>::default()));
    }
    assert_eq!(annotated, nothing);
}

#[test]
fn the_annotated_file_sets_or_explains_every_key() {
    for key in FILE.keys {
        let named = DEFAULT_FILE.lines().any(|line| line.trim_start_matches("# ").starts_with(key));
        assert!(named, "the annotated file doesn't name `{key}`");
    }
}

#[test]
fn the_examples_in_the_annotated_file_are_right() {
    let (_, examples) = DEFAULT_FILE.split_once("# Examples:\n").unwrap();
    let lines = examples.lines().filter_map(|line| line.strip_prefix("#   "));
    let text = format!("locks:\n{}", lines.map(|line| format!("  {line}\n")).collect::<String>());
    let config = parse(&text).unwrap();
    assert_eq!(config.rules.len(), 4);
    assert!(!config.rules[0].opt_out && config.rules[1].names.is_empty());
    assert!(config.rules[2].shared.as_ref().is_some_and(|shared| shared.on_request));
}

#[test]
fn every_key_is_read() {
    let config = parse(
        "store: { local: { path: /x.db } }\nstate: /s\nlease: 40s\nheartbeat: 10s\nwait: 2h\nkill_grace: 5s\n\
         shell: [bash, -l]\nprefix: [nice, -n, '5']\nrun_as: ci\nsurvivors: wait\norphan: stop\nbuilds_dir: /b\ncache_dir: /c\n",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.store, StoreConfig::Local { path: "/x.db".into() });
    assert_eq!((config.lease, config.heartbeat, config.kill_grace), (seconds(40), seconds(10), seconds(5)));
    assert_eq!((config.wait, config.shell), (seconds(7_200), Some(vec!["bash".to_owned(), "-l".to_owned()])));
    assert_eq!((config.prefix.join(" "), config.run_as.as_deref()), ("nice -n 5".to_owned(), Some("ci")));
    assert_eq!((config.survivors, config.orphan), (Survivors::Wait, Orphan::Stop));
    assert_eq!((config.builds_dir, config.cache_dir), (Some("/b".into()), Some("/c".into())));
    assert_eq!(config.state, PathBuf::from("/s"));
}

#[test]
fn the_local_store_follows_the_state_folder() {
    assert_eq!(parse("state: /s").unwrap().store, StoreConfig::Local { path: "/s/locks.db".into() });
}

#[test]
fn a_lease_that_is_too_short_shows_the_sum() {
    let text = "heartbeat: 20s\nlease: 50s\nkill_grace: 10s\n";
    let error = error(text);
    assert!(error.starts_with("f.yaml:2:8: `lease` is 50s"), "{error}");
    assert!(error.contains("2 x 20s + 10s + 5s = 55s"), "{error}");
    assert!(parse(&text.replace("50s", "55s")).is_ok(), "the bound itself is enough");
    assert!(self::error("heartbeat: 30s").starts_with("f.yaml:1:12: `lease` is 1m"));
}

#[test]
fn an_error_names_file_line_column_and_the_way_out() {
    for (text, start, part) in [
        ("wait: 5m\nheartbaet: 5s", "f.yaml:2:1: unknown key `heartbaet`", "did you mean `heartbeat`?"),
        ("wait: 60", "f.yaml:1:7: `wait`", "60s, 60m or 60h"),
        ("lease: 0", "f.yaml:1:8: `lease` is 0s", "from 1s to 1h"),
        ("wait: 999h", "f.yaml:1:7: `wait` is 999h", "from 0s to 168h"),
        ("wait: [5m]", "f.yaml:1:7: `wait` is to be a duration", "is a list"),
        ("wait:", "f.yaml:1:5: `wait`", "but is empty"),
        ("shell: bash -l", "f.yaml:1:8: `shell`", "write [bash, -l]"),
        ("shell: []", "f.yaml:1:8: `shell`", "at least one"),
        ("prefix: nice -n 5", "f.yaml:1:9: `prefix`", "write [nice, -n, 5]"),
        ("run_as: root", "f.yaml:1:9: `run_as`", "name another user"),
        ("run_as: '-u'", "f.yaml:1:9: `run_as`", "no user's name"),
        (
            "run_as: ci\ndriver: { run_exec: /d }",
            "f.yaml:2:9: the configuration has both `run_as`",
            "`driver`",
        ),
        ("survivors: keep", "f.yaml:1:12: `survivors`", "`kill`, `wait` or `leave`"),
        ("state: x", "f.yaml:1:8: `state`", "absolute"),
        ("builds_dir: ~/b", "f.yaml:1:13: `builds_dir`", "not expanded"),
        ("local: {}", "f.yaml:1:1: unknown key `local`", "belongs under `store:`"),
        ("- a", "f.yaml:1:1: `the configuration` is to be", "is a list"),
        ("wait: 5m\nwait: 6m", "f.yaml:2:1: not valid YAML", "wait"),
        ("wait: !x 5m", "f.yaml:1:", "not valid YAML"),
        ("a: [", "f.yaml:", "not valid YAML"),
        ("locks: []", "f.yaml:1:8: `locks`", "drop the key"),
        ("locks: {}", "f.yaml:1:8: `locks`", "a list"),
    ] {
        let error = error(text);
        assert!(error.starts_with(start) && error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn an_error_in_a_rule_names_its_line_too() {
    let own = "{CI_SERVER_HOST}/{CI_PROJECT_PATH}";
    for (rule, start, part) in [
        ("match: {}", "f.yaml:2:5: a rule of `locks` has no `name`", "name: \"{CI_SERVER_HOST}"),
        ("{ name: [], environment: x }", "f.yaml:2:17: unknown key `environment`", "under `match:`"),
        (
            "{ name: [], match: { projekt: x } }",
            "f.yaml:2:26: unknown key `projekt`",
            "did you mean `project`?",
        ),
        ("{ name: [], names: [] }", "f.yaml:2:24: a rule of `locks` has both", "keep one"),
        ("name: '{CI_SERVER_HOST'", "f.yaml:2:11: the template", "character 1: this `{` is never closed"),
        ("name: prod", "f.yaml:2:11: the template", "add `shared: true`"),
        ("name: 5", "f.yaml:2:11: `name` is to be a text", "the number 5"),
        (
            "{ name: '{X}', shared: true, projects: '**' }",
            "f.yaml:2:13: the template",
            "for example `shared/`",
        ),
        ("{ name: prod, shared: true }", "f.yaml:2:5: a rule of `locks` has no `projects`", "infra/**"),
        ("{ name: OWN, projects: 'a/*' }", "f.yaml:2:", "beside `shared: true`"),
        ("{ name: OWN, mode: read }", "f.yaml:2:", "`exclusive`"),
        ("{ name: OWN, match: { ref: '[a' } }", "f.yaml:2:", "the glob \"[a\" cannot be read"),
        ("{ name: OWN, match: { ref_protected: yes } }", "f.yaml:2:", "true or false"),
        ("{ name: OWN, opt_out: 1 }", "f.yaml:2:", "true or false"),
        ("{ names: [MANY] }", "f.yaml:2:14: `names`", "at most 16 locks"),
    ] {
        let rule = rule.replace("MANY", &["OWN"; 17].join(", ")).replace("OWN", &format!("'{own}'"));
        let error = error(&format!("locks:\n  - {rule}"));
        assert!(error.starts_with(start) && error.contains(part), "{rule}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn a_file_with_one_change_is_read_or_refused(
        at in any::<prop::sample::Index>(), length in 0usize..12, with in "[a-z0-9{}\\[\\]:,|*&!<>'\"# \n\t-]{0,12}",
    ) {
        let text = RULES_OF_ALL_KINDS;
        let at = at.index(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[(at + length).min(text.len())..]);
        if let Err(error) = parse(&changed) {
            prop_assert!(error.starts_with("f.yaml:"), "{}", error);
            prop_assert!(error.lines().count() <= 2, "{}", error);
        }
    }
}

const RULES_OF_ALL_KINDS: &str = r#"
store: { dynamodb: { table: locks, region: eu-central-1, endpoint_url: "http://h:1", profile: p } }
lease: 60s
heartbeat: 15s
shell: [bash, -l]
max_waiting: 20
history: false
on_lost: continue
on_timeout: requeue
locks:
  - match: { project: ["a/**", b/c], ref: main, environment: "prod*", job: x, tag: "v*", ref_protected: true }
    name: ["{CI_SERVER_HOST}/{CI_PROJECT_PATH}:{X|slug|default:y}", "{CI_SERVER_HOST}/{CI_PROJECT_PATH}"]
    mode: exclusive
    limit: 2
    resources: [board-a, "board b"]
    order: newest
    supersede: true
    priority: -5
    max_priority: 7
    scope: pipeline
    linger: 30s
    on_timeout: requeue
    max_queue: 9
    jobs_may_share: false
    wait: 5m
  - { name: "s/{Y|hash}", shared: true, projects: "**", on_request: false, jobs_may_choose: false, opt_out: false }
"#;

#[test]
fn the_text_that_is_mutated_is_right_itself() {
    assert_eq!(parse(RULES_OF_ALL_KINDS).map(|config| config.rules.len()), Ok(2));
}
