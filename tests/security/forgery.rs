//! A job's author who sets any variable to anything.

use serde_json::Value;

use crate::{
    attacker::{is_tame, run},
    harness::{Host, Job, LOCK},
};

/// The names of the locks that anybody holds or awaits.
fn held(host: &Host) -> Vec<String> {
    let (code, said) = run(host.site.program("direct.yaml").args(["status", "--json"]));
    assert_eq!(code, 0, "{said}");
    let locks: Vec<Value> = serde_json::from_str(&said).unwrap();
    let is_used = |lock: &&Value| ["holders", "queue"].iter().any(|list| lock[list] != Value::Array(vec![]));
    locks.iter().filter(is_used).map(|lock| lock["name"].as_str().unwrap().to_owned()).collect()
}

/// Variables by which a stage, the runner, the shell or an AWS client could be led astray, if they came through.
const FORGED: [(&str, &str); 28] = [
    ("CI_JOB_ID", "1"),
    ("CI_JOB_NAME", "other"),
    ("CI_JOB_URL", "https://evil.example/-/jobs/1"),
    ("CI_PIPELINE_ID", "1"),
    ("CI_PROJECT_ID", "1"),
    ("CI_PROJECT_PATH", "other/project"),
    ("CI_PROJECT_NAMESPACE", "other"),
    ("CI_PROJECT_URL", "https://evil.example/other/project"),
    ("CI_REPOSITORY_URL", "https://evil.example/other/project.git"),
    ("CI_SERVER_HOST", "evil.example"),
    ("CI_SERVER_URL", "https://evil.example"),
    ("CI_COMMIT_REF_NAME", "other"),
    ("CI_COMMIT_REF_PROTECTED", "true"),
    ("CI_ENVIRONMENT_NAME", "production"),
    ("GITLAB_USER_LOGIN", "root"),
    ("GITLAB_USER_ID", "1"),
    ("PIPELINE_LOCK_TOKEN", "6d0f6b32-6e7f-4a7c-9d7e-0d9a4ae0b0a1"),
    ("PIPELINE_LOCK_STATE", "/tmp/evil"),
    ("PIPELINE_LOCK_RUNNER", "1:1"),
    ("PIPELINE_LOCK_CONFIG", "/tmp/evil.yaml"),
    ("PIPELINE_LOCK_LOG", "trace"),
    ("JOB_RESPONSE_FILE", "/tmp/evil.json"),
    ("BUILD_EXIT_CODE_FILE", "/tmp/evil"),
    ("BUILD_FAILURE_EXIT_CODE", "0"),
    ("SYSTEM_FAILURE_EXIT_CODE", "0"),
    ("AWS_ENDPOINT_URL", "http://evil.example"),
    ("LD_PRELOAD", "/tmp/evil.so"),
    ("HOME", "/tmp/evil"),
];

fn forged(job: Job) -> Job {
    // The names of ours that exist for authors are tried elsewhere: an unknown one is told, and fails the job.
    let is_told = |name: &str| name.starts_with("PIPELINE_LOCK_");
    FORGED.iter().filter(|(name, _)| !is_told(name)).fold(job, |job, (name, value)| job.variable(name, value))
}

#[test]
fn no_variable_changes_who_a_job_is() {
    for host in [Host::local(""), Host::dynamodb("")] {
        let holder = host.job(1).prepared();
        let job = forged(host.job(2)).attempt();
        let waiting = job.prepare();
        host.until_queued(&[2]);
        holder.finish();
        waiting.end().with_code(0);
        let held = host.status_of(LOCK)["holders"][0].clone();
        assert_eq!(held["owner"], "job:gitlab.example.com/2");
        let who = &held["who"];
        assert_eq!((&who["job_id"], &who["project"]), (&Value::from(2), &Value::from("shop/web")));
        assert_eq!(who["job"], "deploy-2");
        assert_eq!(who["url"], "https://gitlab.example.com/shop/web/-/jobs/2");
        assert_ne!(who["user"], "root", "what is disputed is not said");
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn the_stages_own_variables_are_not_the_authors() {
    for (name, value) in FORGED.iter().filter(|(name, _)| name.starts_with("PIPELINE_LOCK_")) {
        let host = Host::local("");
        let job = host.job(1).variable(name, value).attempt();
        let ended = job.prepare().end();
        // Refused with the name of it, or without any effect.
        assert!(ended.code == Some(1) && ended.text().contains(name) || ended.code == Some(0), "{ended:?}");
        assert!(!std::path::Path::new("/tmp/evil").exists());
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn no_wish_takes_another_projects_lock() {
    let names = [
        "gitlab.example.com/other/project",
        "gitlab.example.com/shop/web-2",
        "gitlab.example.com/shop",
        "gitlab.example.com/shop/web/../../other/project",
        "gitlab.example.com/shop/web/./x",
        "gitlab.example.com//other/project",
        "/gitlab.example.com/other/project",
        "GITLAB.example.com/other/project",
        "evil.example/shop/web",
        "../other/project",
        "{CI_PROJECT_PATH}",
        "devices/board-1",
        "gitlab.example.com/other/project,gitlab.example.com/shop/web",
        "gitlab.example.com/shop/web/x\u{200b}",
        "gitlab.example.com/shop/web/x\u{202e}",
        "gitlab.example.com/shop/web\u{0}",
        " , ,",
        "none,none",
        "*",
    ];
    let host = Host::local("");
    let job = host.job(1);
    for name in names {
        // No environment has a NUL in it: the kernel does not let it.
        let name = name.trim_end_matches('\u{0}');
        let attempt = job.clone().variable("PIPELINE_LOCK", name).attempt();
        let ended = attempt.prepare().end();
        assert!(matches!(ended.code, Some(0 | 1)), "{name:?}: {}", ended.text());
        is_tame(&ended.text());
        let taken = held(&host);
        let own = |name: &String| {
            name.strip_prefix(LOCK).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
        };
        assert!(taken.iter().all(own), "{name:?} took {taken:?}");
        attempt.finish();
    }
    host.is_clean_soon();
}

#[test]
fn no_value_of_a_variable_breaks_prepare_or_costs_anybody_a_lock() {
    let long = "x".repeat(100_000);
    let values = [
        "",
        " ",
        "-1",
        "0",
        "0x10",
        "1e400",
        "NaN",
        "99999999999999999999999999",
        "-9223372036854775809",
        "1s1s1s",
        "5 minutes",
        "\u{feff}5m",
        "18446744073709551616h",
        "true",
        "[]",
        "{}",
        "{{",
        "../x",
        "'; touch /tmp/evil; '",
        "$(touch /tmp/evil)",
        "\u{1F512}",
        &long,
    ];
    let host = Host::local(
        "wait: 1s\nlocks:\n  - { name: \"{CI_SERVER_HOST}/{CI_PROJECT_PATH}/{CI_ENVIRONMENT_NAME|default:x}\" }",
    );
    let holder = host.job(1).variable("PIPELINE_LOCK", &format!("{LOCK}/held")).prepared();
    let ours = ["", "_WAIT", "_MODE", "_PRIORITY", "_SCOPE", "_ON_TIMEOUT", "_RELEASE", "_PARENT", "_X"];
    let names =
        ours.map(|name| format!("PIPELINE_LOCK{name}")).into_iter().chain(["CI_ENVIRONMENT_NAME".to_owned()]);
    for name in names {
        for value in values {
            let job = host.job(2).variable(&name, value).attempt();
            let ended = job.prepare().end();
            assert!(matches!(ended.code, Some(0 | 1)), "{name}={value:.40}: {}", ended.text());
            assert!(
                ended.out.len() < 4096,
                "{name}={value:.40}: the log is not filled: {} bytes",
                ended.out.len()
            );
            is_tame(&ended.text());
            job.finish();
        }
    }
    assert!(!std::path::Path::new("/tmp/evil").exists());
    assert_eq!(host.status_of(&format!("{LOCK}/held"))["holders"][0]["who"]["job_id"], 1);
    holder.finish();
    host.nothing_is_left();
}
