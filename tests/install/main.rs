//! install.sh: what it puts where, and how it edits a runner's config.toml.

mod host;
mod runner_config;

use std::{fs, os::unix::fs::PermissionsExt};

use host::Host;

#[test]
fn one_command_installs_and_shows_a_job_under_its_lock() {
    let host = Host::new();
    let said = host.install(&[]).succeeds();
    assert!(said.contains("Hello from a job that holds lock try.localhost/install/check"), "{said}");
    assert!(
        said.contains("[runners.custom]") && said.contains(r#"prepare_args = ["executor", "prepare"]"#),
        "{said}"
    );
    let installed = fs::read_to_string(host.config()).unwrap();
    assert_eq!(installed, fs::read_to_string(host.file("executor-config/pipeline-lock.yaml")).unwrap());
    let state = fs::metadata(host.home().join(".local/state/pipeline-lock")).unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o700);
    assert!(host.binary().exists());
}

#[test]
fn an_edited_configuration_is_never_overwritten_nor_removed_unless_purged() {
    let host = Host::new();
    host.install(&[]).succeeds();
    host.write(&host.config(), "wait: 5m\n");
    let said = host.install(&[]).succeeds();
    assert_eq!(fs::read_to_string(host.config()).unwrap(), "wait: 5m\n");
    assert!(said.contains("config.yaml.new"), "{said}");
    host.script(&["--user", "--uninstall"]).succeeds();
    assert!(!host.binary().exists() && host.config().exists());
    host.script(&["--user", "--uninstall", "--purge"]).succeeds();
    assert!(!host.config().exists() && !host.home().join(".local/state/pipeline-lock").exists());
    let said = host.script(&["--user", "--uninstall"]).succeeds();
    assert!(said.contains("nothing to remove"), "{said}");
}

#[test]
fn an_unedited_configuration_goes_with_the_binary() {
    let host = Host::new();
    host.install(&[]).succeeds();
    host.script(&["--user", "--uninstall"]).succeeds();
    assert!(!host.config().exists());
    assert!(host.home().join(".local/state/pipeline-lock/locks.db").exists(), "the state has to stay");
}

#[test]
fn wrong_use_is_one_clear_error_and_changes_nothing() {
    let host = Host::new();
    for (arguments, part) in [
        (&["--usr"][..], "unknown option --usr"),
        (&["--prefix"], "--prefix needs a value"),
        (&["--purge"], "--purge goes with --uninstall"),
        (&["--user", "--runner", "x"], "--runner goes with --runner-config"),
        (&["--user", "--binary", "/etc/passwd"], "does not run on this host"),
        (&["--user", "--binary", "/bin/true"], "no pipeline-lock"),
        (&["--user", "--runner-config", "/nonexistent"], "no such file"),
        (&[], "root is needed"),
    ] {
        let said = host.script(arguments).fails();
        assert!(said.contains(part) && said.starts_with("install.sh: "), "{arguments:?}: {said}");
    }
    assert!(!host.home().join(".local").exists() && !host.home().join(".config").exists());
}
