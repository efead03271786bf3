//! Names that others chose, wherever this program says them.

use std::fs;

use crate::{
    attacker::{EVIL, edit, is_tame, keepers_folder, named, run},
    harness::{Host, LOCK},
};

#[test]
fn no_name_of_a_job_commands_the_log_of_one_that_waits() {
    let host = Host::local("");
    let holder = named(&host, 1, EVIL);
    let job = host.job(2).attempt();
    edit(&job, |response| response["job_info"]["name"] = EVIL.into());
    let waiting = job.prepare();
    waiting.says("place 1 of 1");
    let log = fs::read_to_string(keepers_folder(&host, &job).log()).unwrap();
    assert!(!log.contains('\u{1b}'), "{log:?}");
    holder.finish();
    let ended = waiting.end().with_code(0);
    assert!(ended.text().contains("evil\u{fffd}[31m"), "{}", ended.text());
    is_tame(&ended.text());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn no_name_of_a_job_commands_an_operators_terminal() {
    let host = Host::local("");
    let holder = named(&host, 1, EVIL);
    let waits = host.job(2).attempt();
    edit(&waits, |response| response["job_info"]["name"] = EVIL.into());
    let waiting = waits.prepare();
    host.until_queued(&[2]);
    let commands: [&[&str]; 8] = [
        &["status"],
        &["status", LOCK],
        &["list"],
        &["acquire", "--name", LOCK, "--wait", "0"],
        &["exec", "--name", LOCK, "--wait", "0", "--", "true"],
        &["unlock", LOCK, "--force", "--holder", EVIL],
        &["unlock", LOCK],
        &["release", "--name", LOCK],
    ];
    for args in commands {
        let (_, said) = run(host.site.program("direct.yaml").args(args));
        is_tame(&said);
    }
    let (code, said) = run(host.site.program("direct.yaml").args(["acquire", "--name", LOCK, "--wait", "0"]));
    assert!(code == 1 && said.contains("evil"), "the holder is named: {said:?}");
    holder.finish();
    waiting.end().with_code(0);
    waits.finish();
    let (code, said) = run(host.site.program("direct.yaml").args(["history", LOCK]));
    assert!(code == 0 && said.contains("evil"), "{said:?}");
    is_tame(&said);
    host.is_clean_soon();
}

#[test]
fn no_reason_and_no_users_name_commands_a_terminal() {
    let host = Host::local("");
    let mut reserve = host.site.program("config.yaml");
    reserve.env("USER", EVIL).args(["reserve", LOCK, "--for", "1h", "--reason", EVIL]);
    let (code, said) = run(&mut reserve);
    assert_eq!(code, 0, "{said:?}");
    is_tame(&said);
    let job = host.job(1).variable("PIPELINE_LOCK_WAIT", "0").attempt();
    is_tame(&job.prepare().end().with_code(1).with_text(&["reserved"]).text());
    job.finish();
    for args in [&["status"][..], &["acquire", "--name", LOCK, "--wait", "0"], &["release", "--name", LOCK]] {
        is_tame(&run(host.site.program("config.yaml").args(args)).1);
    }
    host.nothing_is_left();
}

#[test]
fn no_process_name_commands_the_runners_log() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let left =
        format!("exec -a \"$evil\" sleep 600 </dev/null >/dev/null 2>&1 & {}", host.tells("left", "$!"));
    let copy = "evil=$(printf 'x\\033]0;t\\007'); cp \"$(command -v sleep)\" \"$evil\"\n";
    let left = left.replace("exec -a \"$evil\" sleep", "setsid \"./$evil\"");
    job.script_ends(&format!("cd {}\n{copy}{left}", host.path().join("gates").display())).with_code(0);
    let left = host.told("left");
    let ended = job.finish();
    assert!(!left.lives() && ended.error_text().contains("that the job left behind"), "{ended:?}");
    is_tame(&(ended.text() + &ended.error_text()));
    host.is_clean_soon();
}

#[test]
fn what_a_jobs_author_writes_into_variables_commands_no_log() {
    let host = Host::local("");
    let names = ["", "_WAIT", "_MODE", "_PRIORITY", "_SCOPE", "_ON_TIMEOUT", "_RELEASE", "_PARENT", "_TYPO"];
    for name in names {
        let job = host.job(1).variable(&format!("PIPELINE_LOCK{name}"), EVIL).attempt();
        let ended = job.prepare().end();
        let told = if name == "_TYPO" { 0 } else { 1 };
        assert_eq!(ended.code, Some(told), "{name}: {}", ended.text());
        is_tame(&ended.text());
        job.finish();
    }
    host.is_clean_soon();
}
