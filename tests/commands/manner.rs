//! How a command takes the locks that it names: together with others, one of several places, before others, several at
//! once.

use crate::{
    caller::start,
    harness::{Host, LOCK, Stage, eventually},
};

/// `exec --name LOCK MORE -- sh -c SCRIPT`.
fn exec(host: &Host, more: &[&str], script: &str) -> Stage {
    start(host, &[&["exec", "--name", LOCK][..], more, &["--", "sh", "-c", script]].concat())
}

fn waiters(host: &Host) -> Vec<String> {
    let status = host.status_of(LOCK);
    let jobs = status["queue"].as_array().unwrap().iter();
    jobs.map(|waiter| waiter["who"]["job"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn shared_holds_are_held_together_and_never_with_an_exclusive_one() {
    let host = Host::local("");
    let reader = exec(&host, &["--shared"], &host.gate("reader"));
    host.until_reached("reader");
    exec(&host, &["--shared", "--wait", "0"], "echo beside").end().with_code(0).with_text(&["beside"]);
    exec(&host, &["--wait", "0"], "echo never").end().with_code(1);
    for (more, code) in [(&["--shared"][..], 0), (&[], 1)] {
        let args = [&["acquire", "--wait", "0", "--name", LOCK][..], more].concat();
        host.run(&args).with_code(code);
    }
    host.run(&["release", "--name", LOCK]).with_code(0).with_text(&["is released"]);
    host.open("reader");
    reader.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn a_limit_admits_so_many_and_each_is_told_its_place() {
    let host = Host::local("");
    let limit = &["--limit", "2"];
    let told = |gate: &str| format!("echo slot $PIPELINE_LOCK_SLOT; {}", host.gate(gate));
    let first = exec(&host, limit, &told("first"));
    host.until_reached("first");
    let args = ["acquire", "--wait", "0", "--name", LOCK, "--limit", "2"];
    let second = host.run(&args).with_code(0);
    let lines: Vec<String> = second.text().lines().map(str::to_owned).collect();
    assert!(
        matches!(&lines[..], [fence, slot] if fence.starts_with("PIPELINE_LOCK_FENCE=") && slot == "PIPELINE_LOCK_SLOT=1"),
        "{lines:?}"
    );
    host.run(&args).with_code(1);
    host.run(&["release", "--name", LOCK]).with_code(0);
    host.open("first");
    assert_eq!(first.end().with_code(0).text(), "slot 0\n");
    host.is_clean_soon();
}

#[test]
fn a_higher_priority_and_then_the_newest_go_first() {
    let host = Host::local("");
    let holder = exec(&host, &[], &host.gate("holder"));
    host.until_reached("holder");
    let order = host.path().join("order").display().to_string();
    let mut waiting = Vec::new();
    let wishes: [(&[&str], &str); 4] = [
        (&[], "plain"),
        (&["--newest"], "newest"),
        (&["--priority", "5"], "high"),
        (&["--priority", "-5"], "low"),
    ];
    for (n, (more, word)) in wishes.into_iter().enumerate() {
        waiting.push(exec(&host, more, &format!("echo {word} >>{order}")));
        eventually(word, || waiters(&host).len() == n + 1);
    }
    host.open("holder");
    holder.end().with_code(0);
    for stage in waiting {
        stage.end().with_code(0);
    }
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "high\nnewest\nplain\nlow\n");
    host.is_clean_soon();
}

#[test]
fn a_full_queue_is_1_at_once() {
    let host = Host::local("");
    let holder = exec(&host, &[], &host.gate("holder"));
    host.until_reached("holder");
    let waiting = exec(&host, &["--max-queue", "1"], "true");
    eventually("it waits", || waiters(&host).len() == 1);
    exec(&host, &["--max-queue", "1"], "true").end().with_code(1).with_text(&[LOCK, "queue is full"]);
    host.run(&["acquire", "--name", LOCK, "--max-queue", "1"]).with_code(1).with_text(&["queue is full"]);
    host.open("holder");
    holder.end().with_code(0);
    waiting.end().with_code(0);
    host.is_clean_soon();
}

#[test]
fn several_locks_are_held_at_once_and_given_back_together() {
    for host in [Host::local(""), Host::dynamodb("")] {
        let script = format!("echo $PIPELINE_LOCK_NAME; {}", host.gate("go"));
        let both =
            start(&host, &["exec", "--name", "b", "--name", LOCK, "--name", "a", "--", "sh", "-c", &script]);
        host.until_reached("go");
        for name in ["a", "b", LOCK] {
            host.run(&["acquire", "--name", name, "--wait", "0"]).with_code(1);
        }
        host.open("go");
        assert_eq!(both.end().with_code(0).text(), format!("a,b,{LOCK}\n"));
        let held = host.run(&["acquire", "--name", "b", "--name", "a"]).with_code(0);
        assert_eq!(
            held.text().lines().next().unwrap().split(',').count(),
            2,
            "a number for each: {}",
            held.text()
        );
        host.run(&["acquire", "--name", "a", "--wait", "0"]).with_code(1);
        let released = host.run(&["release", "--name", "a", "--name", "b"]).with_code(0);
        released.with_text(&["lock a is released", "lock b is released"]);
        host.is_clean_soon();
    }
}

#[test]
fn of_several_locks_none_is_kept_when_one_is_not_got() {
    let host = Host::local("");
    host.run(&["acquire", "--name", "b"]).with_code(0);
    let args = ["acquire", "--name", "a", "--name", "b", "--name", "c", "--wait", "0"];
    host.run(&args).with_code(1).with_text(&["lock b: not free"]);
    for name in ["a", "c"] {
        assert!(host.status_of(name)["holders"].as_array().unwrap().is_empty(), "{name}");
    }
    host.run(&["release", "--name", "b"]).with_code(0);
}

#[test]
fn wrong_input_is_one_clear_error() {
    let host = Host::local("");
    for command in ["acquire", "exec"] {
        let run = |more: &[&str]| {
            let args = [&[command][..], more, if command == "exec" { &["--", "true"] } else { &[] }].concat();
            host.run(&args)
        };
        for (more, says) in [
            (&["--limit", "0"][..], "0 is not in 1..=100"),
            (&["--limit", "101"], "101 is not in 1..=100"),
            (&["--limit", "-1"], "'-1'"),
            (&["--limit", "two"], "invalid digit"),
            (&["--priority", "101"], "101 is not in -100..=100"),
            (&["--priority", "-101"], "-101 is not in -100..=100"),
            (&["--priority", "high"], "invalid digit"),
            (&["--max-queue", "0"], "0 is not in 1.."),
            (&["--max-queue", "99999999999"], "--max-queue"),
            (&["--shared=yes"], "'yes'"),
            (&["--newest", "--newest"], "--newest"),
        ] {
            let ended = run(&[&["--name", LOCK], more].concat()).with_code(2).with_text(&[says]);
            assert_eq!(ended.error_text().matches("error:").count(), 1, "{}", ended.error_text());
        }
        for alone in
            [&["--shared"][..], &["--limit", "2"], &["--priority", "1"], &["--newest"], &["--max-queue", "1"]]
        {
            run(alone).with_code(2).with_text(&["--name"]);
        }
        run(&["--name", "a", "--name", "a"]).with_code(3).with_text(&["lock a is named twice"]);
    }
    host.run(&["release", "--name", "a", "--name", "a"]).with_code(3).with_text(&["lock a is named twice"]);
    host.nothing_is_left();
}
