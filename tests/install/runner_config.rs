//! Only the keys of one runner change in its config.toml.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::host::Host;

/// Everything that a line-by-line editor could take for what it is not.
const MANY: &str = r#"concurrent = 4   # four

[session_server]
  session_timeout = 1800

[[runners]]
  name = "first"
  token = "glrt-abc" # secret
  executor = "shell"   # as it was
  pre_build_script = """
[[runners]]
name = "no runner"
[runners.custom]
echo "a \""
"""
  environment = [
    "A=[1",
    "B=2", # ]
  ]
  [runners.cache]
    MaxUploadedArchiveSize = 0

# The second one.
[[ runners ]]
  name = 'second "x"'
  executor = "custom"
  builds_dir = "/b"
  cache_dir = "/c"
  [runners."custom"]
    prepare_exec_timeout = 4000
    run_exec = "/opt/old"
    run_args = [
      "a",
      "b"
    ]
    # at the end

[monitoring]
  x = 1
"#;

fn host_with(config: &str) -> (Host, PathBuf) {
    let host = Host::new();
    let file = host.home().join("config.toml");
    host.write(&file, config);
    (host, file)
}

fn edit(host: &Host, file: &Path, more: &[&str]) -> super::host::Said {
    let mut arguments = vec!["--runner-config", file.to_str().unwrap()];
    arguments.extend(more);
    host.install(&arguments)
}

/// The lines of `new` that are not in `old`, and the other way round, both in order.
fn differences(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let without = |these: &str, those: &str| {
        let mut rest: Vec<&str> = those.lines().collect();
        let kept = these.lines().filter(|line| match rest.iter().position(|other| other == line) {
            Some(at) => {
                rest.remove(at);
                false
            }
            None => true,
        });
        kept.map(|line| line.trim().to_owned()).collect()
    };
    (without(old, new), without(new, old))
}

fn ours(binary: &str) -> Vec<String> {
    let lines = |stage: &str| {
        [format!("{stage}_exec = \"{binary}\""), format!("{stage}_args = [\"executor\", \"{stage}\"]")]
    };
    ["config", "prepare", "run", "cleanup"].iter().flat_map(|stage| lines(stage)).collect()
}

#[test]
fn a_runner_gets_our_keys_and_all_else_stays() {
    let (host, file) = host_with(MANY);
    edit(&host, &file, &["--runner", "first"]).succeeds();
    let edited = fs::read_to_string(&file).unwrap();
    let (gone, mut new) = differences(MANY, &edited);
    new.retain(|line| !line.is_empty());
    assert_eq!(gone, [r#"executor = "shell"   # as it was"#]);
    let mut expected = vec![r#"executor = "custom"   # as it was"#.to_owned()];
    expected.extend(["builds_dir", "cache_dir"].map(|key| {
        let line = new.iter().find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("no {key} in\n{edited}")).clone()
    }));
    expected.push("[runners.custom]".into());
    expected.extend(ours(host.binary().to_str().unwrap()));
    assert_eq!(new, expected);
    let at = |text: &str| edited.find(text).unwrap();
    assert!(
        at("MaxUploaded") < at("cleanup_exec") && at("cleanup_exec") < at("# The second one."),
        "{edited}"
    );
}

#[test]
fn another_driver_gives_way_and_its_timeouts_stay() {
    let (host, file) = host_with(MANY);
    edit(&host, &file, &["--runner", "second \"x\""]).succeeds();
    let (gone, new) = differences(MANY, &fs::read_to_string(&file).unwrap());
    assert_eq!(gone, [r#"run_exec = "/opt/old""#, "run_args = [", r#""a","#, r#""b""#, "]"]);
    let (mut new, mut expected) = (new, ours(host.binary().to_str().unwrap()));
    new.sort();
    expected.sort();
    assert_eq!(new, expected);
}

#[test]
fn a_second_time_changes_nothing_and_the_first_file_is_beside_it() {
    let (host, file) = host_with(MANY);
    edit(&host, &file, &["--runner", "first"]).succeeds();
    let once = fs::read_to_string(&file).unwrap();
    let said = edit(&host, &file, &["--runner", "first"]).succeeds();
    assert!(said.contains("already"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), once);
    let names = fs::read_dir(host.home()).unwrap().map(|entry| entry.unwrap().path());
    let backups: Vec<_> = names.filter(|path| path.extension().is_some_and(|e| e == "bak")).collect();
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert_eq!(fs::read_to_string(&backups[0]).unwrap(), MANY);
}

#[test]
fn what_can_not_be_edited_safely_is_left_alone() {
    let inline = "[[runners]]\n  name = \"a\"\n  executor = \"custom\"\n  custom = { run_exec = \"/x\" }\n";
    for (config, more, part) in [
        (MANY, &[][..], "several runners: choose one with --runner"),
        (MANY, &["--runner", "third"], "no runner named \"third\""),
        (inline, &[], "written inline"),
        ("concurrent = 1\n", &[], "has no [[runners]]"),
        ("[[runners]]\nname = \"\"\"\n", &[], "never closed"),
    ] {
        let (host, file) = host_with(config);
        let said = edit(&host, &file, more).fails();
        assert!(said.contains(part), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), config);
    }
}

#[test]
fn the_example_is_what_the_installer_writes() {
    let host = Host::new();
    let file = host.home().join("config.toml");
    let example = fs::read_to_string(host.file("executor-config/config.toml")).unwrap();
    let example = example.replace("/usr/local/bin/pipeline-lock", host.binary().to_str().unwrap());
    host.write(&file, &example);
    let said = edit(&host, &file, &[]).succeeds();
    assert!(said.contains("calls pipeline-lock already"), "{said}");
}
