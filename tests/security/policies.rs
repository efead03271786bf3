//! The policies of `executor-config/`: enough, and no more than that.

use std::collections::BTreeSet;

use crate::{
    attacker::run,
    harness::{Host, LOCK, Store, endpoint},
    policy::{Gate, Policy},
};

/// A host whose every request passes the policy.
fn host(file: &str) -> (Gate, Host) {
    let gate = Gate::to(&endpoint(), Policy::read(file));
    let host = Host::through(&Store::table(), &gate.url, "");
    (gate, host)
}

/// Two jobs, one of which waits for the other, and what people ask meanwhile of one lock.
fn two_jobs(host: &Host) {
    let first = host.job(1).prepared();
    let second = host.job(2).attempt();
    let waiting = second.prepare();
    waiting.says("place 1 of 1");
    first.script_ends("true").with_code(0);
    for args in [&["status", LOCK][..], &["history", LOCK]] {
        let (code, said) = run(host.site.program("config.yaml").args(args));
        assert_eq!(code, 0, "{args:?}: {said}");
    }
    first.finish();
    waiting.end().with_code(0);
    second.finish();
    host.is_clean_soon();
}

#[test]
fn the_runners_policy_is_enough_for_all_and_has_no_action_that_is_not_used() {
    let (gate, host) = host("iam-policy.json");
    two_jobs(&host);
    for args in [&["list"][..], &["status"]] {
        assert_eq!(run(host.site.program("config.yaml").args(args)).0, 0);
    }
    let asked = gate.asked();
    assert_eq!(asked.denied, BTreeSet::new());
    assert_eq!(asked.allowed, Policy::read("iam-policy.json").actions());
}

#[test]
fn the_policy_with_a_prefix_is_enough_for_its_locks_and_nothing_else() {
    let (gate, host) = host("iam-policy-prefix.json");
    two_jobs(&host);
    let asked = gate.asked();
    let scan = BTreeSet::from(["Scan of []".to_owned()]);
    assert!(asked.denied.is_subset(&scan), "jobs can do without a scan alone: {asked:?}");
    assert_eq!(asked.allowed, Policy::read("iam-policy-prefix.json").actions());
    for name in
        ["gitlab.example.com/other/x", "gitlab.example.com/shopping/x", "gitlab.example.com/shop", "x"]
    {
        let mut command = host.site.program("config.yaml");
        let (code, said) = run(command.args(["acquire", "--name", name, "--wait", "0"]));
        assert!(code == 3 && said.contains("dynamodb:UpdateItem"), "{name}: {code} {said}");
        let (code, said) = run(host.site.program("config.yaml").args(["status", name]));
        assert!(code == 3 && said.contains("dynamodb:GetItem"), "{name}: {code} {said}");
    }
    let (code, said) = run(host.site.program("config.yaml").args(["list"]));
    assert!(code == 3 && said.contains("dynamodb:Scan"), "{code} {said}");
}

#[test]
fn the_policy_for_the_table_is_enough_to_make_one() {
    let gate = Gate::to(&endpoint(), Policy::read("iam-policy-table.json"));
    let host = Host::local("");
    let table = format!("security-{}", uuid::Uuid::new_v4().simple());
    let mut command = host.site.program("config.yaml");
    command.args([
        "table",
        "create",
        "--table",
        &table,
        "--region",
        "eu-central-1",
        "--endpoint-url",
        &gate.url,
    ]);
    let (code, said) = run(&mut command);
    assert_eq!(code, 0, "{said}");
    assert_eq!(gate.asked().denied, BTreeSet::new());
    assert_eq!(gate.asked().allowed, Policy::read("iam-policy-table.json").actions());
}
