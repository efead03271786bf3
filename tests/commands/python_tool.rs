//! The CI YAML of the Python tool's users, as docs/python-tool.md has it: it works unchanged.

use std::process::Command;

use crate::{
    caller::in_job,
    harness::{Ended, Host, Job, LOCK, Stage, Store},
};

/// The lines of a key of one of the YAML's jobs.
fn lines(job: &str, key: &str) -> Vec<&'static str> {
    let page = include_str!("../../docs/python-tool.md");
    let yaml = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let job = yaml.split("\n\n").find(|part| part.starts_with(&format!("{job}:\n"))).unwrap();
    let key = job.lines().skip_while(|line| line.trim() != format!("{key}:")).skip(1);
    key.map_while(|line| line.strip_prefix("    - ")).collect()
}

/// What the job's script does, with the built program on its path and `table` in place of the page's.
fn runs(host: &Host, table: &str, job: &Job, lines: &[&str]) -> Ended {
    let like = in_job(host, job, &[]);
    let binaries = std::path::Path::new(like.get_program()).parent().unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-ec", &lines.join("\n").replace("pipeline-locks", table)]).env_clear();
    shell.envs(like.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(host.path());
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).env("PIPELINE_LOCK_CONFIG", host.path().join("config.yaml"));
    Stage::start(shell, false).end()
}

#[test]
fn the_same_ci_yaml_works() {
    let store = Store::table();
    let Store::Table(table) = &store else { unreachable!("it is one") };
    let host = Host::new(&store, "");
    let deploy_sh = host.path().join("deploy.sh");
    std::fs::write(&deploy_sh, "#!/bin/sh\necho deploying\nexit ${EXIT:-0}\n").unwrap();
    std::fs::set_permissions(&deploy_sh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (acquire, script, after) =
        (lines("acquire_lock", "script"), lines("deploy", "script"), lines("deploy", "after_script"));
    assert!([&acquire, &script, &after].iter().all(|lines| lines.len() == 1), "the page has the YAML");

    for (pipeline, exit) in [(7, "0"), (8, "1")] {
        let locker = host.job(pipeline * 10 + 1).of_pipeline(pipeline);
        let deploy = host.job(pipeline * 10 + 2).of_pipeline(pipeline).variable("EXIT", exit);
        runs(&host, table, &locker, &acquire).with_code(0).with_text(&["acquired after"]);
        assert_eq!(host.holders(), [pipeline * 10 + 1]);
        let other = host.job(99).of_pipeline(99);
        let waits_not = acquire[0].to_owned() + " --max-retries 1 --retry-interval 0";
        runs(&host, table, &other, &[&waits_not]).with_code(1).with_text(&[LOCK]);
        runs(&host, table, &deploy, &script).with_code(exit.parse().unwrap()).with_text(&["deploying"]);
        // GitLab runs it whether the script failed or not.
        runs(&host, table, &deploy, &after).with_code(0).with_text(&["is released"]);
        assert!(host.holders().is_empty());
        runs(&host, table, &deploy, &after).with_code(0).with_text(&["nothing to release"]);
    }
}

#[test]
fn its_flags_are_known() {
    let store = Store::table();
    let Store::Table(table) = &store else { unreachable!("it is one") };
    let host = Host::new(&store, "");
    let job = host.job(1).of_pipeline(7);
    let all = "pipeline-lock acquire --table pipeline-locks --region eu-central-1 --retry-interval 5 --max-retries 60 \
               --force-after 3600 --ttl 86400";
    runs(&host, table, &job, &[all]).with_code(0);
    runs(&host, table, &job, &["pipeline-lock release --table pipeline-locks --region eu-central-1"])
        .with_code(0);
    runs(&host, table, &job, &["pipeline-lock acquire --table pipeline-locks --disable-ttl"])
        .with_code(0)
        .with_text(&["never ends by itself"]);
    runs(&host, table, &job, &["pipeline-lock release --table pipeline-locks"]).with_code(0);
    assert!(host.holders().is_empty());
}

#[test]
fn a_number_of_retries_alone_is_as_many_times_five_seconds() {
    let host = Host::local("");
    host.run(&["acquire", "--name", LOCK]).with_code(0);
    let waiting = host.run(&["acquire", "--name", LOCK, "--max-retries", "1"]).with_code(1);
    waiting.with_text(&["not free within 5 s"]);
}
