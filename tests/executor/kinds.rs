//! Locks that the file's rules give: shared, with places, in other orders, a pipeline's, several at once; and what
//! becomes of a wait's end. Each on both stores.

use std::time::Duration;

use crate::harness::{Attempt, Ended, Host, Job, Stage, Version, eventually, within};

const LOCK: &str = "gitlab.example.com/shop/web";

/// A host with a local store and one with a table, with this rule for every job.
fn hosts(rule: &str) -> [Host; 2] {
    let file = format!("locks:\n  - {{ name: \"{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}\", {rule} }}");
    [Host::local(&file), Host::dynamodb(&file)]
}

/// Ends a job whose locks are held.
#[track_caller]
fn ends(host: &Host, waiting: Stage, job: &Attempt) {
    waiting.end().with_code(0);
    assert!(host.holders().contains(&job.job.id));
    job.finish();
}

fn exit_code_told(job: &Attempt) -> String {
    std::fs::read_to_string(job.dir.join("build_exit_code")).unwrap_or_default().trim().to_owned()
}

#[test]
fn shared_holds_are_together_and_an_exclusive_one_is_not_starved_by_them() {
    for host in hosts("mode: shared") {
        let (first, second) = (host.job(1).prepared(), host.job(2).prepared());
        assert_eq!(host.holders(), [1, 2]);
        let alone = host.job(3).variable("PIPELINE_LOCK_MODE", "exclusive").attempt();
        let waiting = alone.prepare();
        host.until_queued(&[3]);
        let late = host.job(4).attempt();
        let behind = late.prepare();
        host.until_queued(&[3, 4]);
        first.finish();
        assert_eq!(host.holders(), [2], "who came after the exclusive one waits behind it");
        second.finish();
        ends(&host, waiting, &alone);
        ends(&host, behind, &late);
        host.is_clean_soon();
    }
}

#[test]
fn each_job_has_a_board_of_its_own_and_knows_which() {
    for host in hosts("resources: [board-a, board-b]") {
        let tell = "echo \"slot=$PIPELINE_LOCK_SLOT board=$PIPELINE_LOCK_RESOURCE\"";
        let (first, second) = (host.job(1).attempt(), host.job(2).prepared());
        second.script_ends(tell).with_code(0).with_text(&["slot=0 board=board-a"]);
        first.prepare().end().with_code(0).with_text(&["board-b"]);
        first.script_ends(tell).with_code(0).with_text(&["slot=1 board=board-b"]);
        let third = host.job(3).attempt();
        let waiting = third.prepare();
        host.until_queued(&[3]);
        second.finish();
        waiting.end().with_code(0);
        third.script_ends(tell).with_code(0).with_text(&["slot=0 board=board-a"]);
        first.finish();
        third.finish();
        host.is_clean_soon();
    }
}

/// How the job of a case is.
type Kind = fn(Job, u64) -> Job;

#[test]
fn the_newest_or_the_most_urgent_goes_first() {
    let cases: [(&str, Kind, [u64; 3]); 2] = [
        ("order: newest", |job, _| job, [4, 3, 2]),
        (
            "max_priority: 50",
            |job, id| job.variable("PIPELINE_LOCK_PRIORITY", &(id * 10).to_string()),
            [4, 3, 2],
        ),
    ];
    for (rule, prepare, order) in cases {
        for host in hosts(rule) {
            let holder = host.job(1).prepared();
            let mut waiting = Vec::new();
            for id in 2..=4 {
                let job = prepare(host.job(id), id).attempt();
                waiting.push((job.prepare(), job));
                eventually("it waits", || host.queue().contains(&id));
            }
            assert_eq!(host.queue(), order, "{rule}");
            holder.finish();
            for (stage, job) in waiting.into_iter().rev() {
                ends(&host, stage, &job);
            }
            host.is_clean_soon();
        }
    }
}

#[test]
fn a_newer_pipeline_makes_older_waiters_give_up_with_a_status_of_their_own() {
    for host in hosts("supersede: true") {
        let holder = host.job(1).of_pipeline(100).prepared();
        let old = host.job(2).of_pipeline(101).attempt();
        let obsolete = old.prepare();
        host.until_queued(&[2]);
        let new = host.job(3).of_pipeline(102).attempt();
        let waiting = new.prepare();
        obsolete.end().with_code(1).with_text(&[LOCK, "102", "newer"]);
        assert_eq!(exit_code_told(&old), "5");
        old.finish();
        host.until_queued(&[3]);
        let late = host.job(4).of_pipeline(99).attempt();
        late.prepare().end().with_code(1).with_text(&["newer"]);
        late.finish();
        holder.finish();
        ends(&host, waiting, &new);
        host.is_clean_soon();
    }
}

#[test]
fn no_other_pipeline_comes_in_between_the_jobs_of_one() {
    for host in hosts("scope: pipeline, linger: 1m") {
        let first = host.job(1).of_pipeline(7).prepared();
        let foreign = host.job(2).of_pipeline(8).attempt();
        let waiting = foreign.prepare();
        host.until_queued(&[2]);
        let beside = host.job(3).of_pipeline(7).prepared();
        assert_eq!(host.holders(), [1, 3], "jobs of one pipeline hold it together");
        beside.finish();
        first.finish().with_text(&["kept for the pipeline's next job"]);
        waiting.says("pipeline #7");
        let last = host.job(4).of_pipeline(7).variable("PIPELINE_LOCK_RELEASE", "after").prepared();
        assert_eq!(
            (host.holders(), host.queue()),
            (vec![4], vec![2]),
            "the pipeline's next job goes past the queue"
        );
        last.finish();
        ends(&host, waiting, &foreign);
        eventually("pipeline 8 keeps it", || host.holders() == [2]);
        let child = host.job(5).of_pipeline(9).variable("PIPELINE_LOCK_PARENT", "8");
        let child = child.variable("PIPELINE_LOCK_RELEASE", "after").prepared();
        assert_eq!(host.holders(), [5], "a child pipeline is in its parent's hold");
        child.finish();
        host.is_clean_soon();
    }
}

#[test]
fn what_a_pipeline_leaves_standing_ends_with_its_time() {
    for host in hosts("scope: pipeline, linger: 1s") {
        host.job(1).of_pipeline(7).prepared().finish();
        let foreign = host.job(2).of_pipeline(8).variable("PIPELINE_LOCK_RELEASE", "after").attempt();
        let waiting = foreign.prepare();
        within(Duration::from_secs(8), "its time is over", || host.holders() == [2]);
        ends(&host, waiting, &foreign);
        host.is_clean_soon();
    }
}

#[test]
fn a_job_takes_several_locks_in_whatever_order_it_names_them() {
    for host in hosts("wait: 50m") {
        let names = |id: u64, names: &str| host.job(id).variable("PIPELINE_LOCK", names).attempt();
        let first = names(1, "b, a");
        first.prepare().end().with_code(0).with_text(&["shop/web/a acquired", "shop/web/b acquired"]);
        let tell = "echo \"names=$PIPELINE_LOCK_NAME\"";
        let told = format!("names={LOCK}/a,{LOCK}/b");
        first.script_ends(tell).with_code(0).with_text(&[&told]);
        let second = names(2, "c,b");
        let waiting = second.prepare();
        waiting.says("shop/web/b");
        assert!(held_by(&host, "c").is_empty(), "what sorts after the one that it waits for is free");
        first.finish().with_text(&["shop/web/a is released", "shop/web/b is released"]);
        waiting.end().with_code(0);
        assert_eq!((held_by(&host, "b"), held_by(&host, "c")), (vec![2], vec![2]));
        second.finish();
        host.is_clean_soon();
    }
}

fn held_by(host: &Host, name: &str) -> Vec<u64> {
    let status = host.status_of(&format!("{LOCK}/{name}"));
    let holders = status["holders"].as_array().expect("a list").iter();
    holders.map(|holder| holder["who"]["job_id"].as_u64().unwrap_or(0)).collect()
}

/// A job that may not wait, while another holds the lock.
fn fails_at_once(host: &Host, job: &Job) -> (Attempt, Ended) {
    let attempt = job.attempt();
    let ended = attempt.prepare().end();
    assert!(host.queue().is_empty(), "it is not in the queue");
    (attempt, ended)
}

#[test]
fn a_wait_of_nothing_takes_the_lock_or_fails_at_once() {
    for host in hosts("wait: 50m") {
        let hasty = |id| host.job(id).variable("PIPELINE_LOCK_WAIT", "0");
        let holder = hasty(1).prepared();
        let (job, ended) = fails_at_once(&host, &hasty(2));
        ended.with_code(1).with_text(&["not free", "deploy-1"]);
        job.finish();
        holder.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_job_that_is_to_start_anew_fails_as_by_its_runner_and_its_other_tries_end_at_once() {
    for host in hosts("wait: 1s, on_timeout: requeue") {
        let holder = host.job(1).prepared();
        let job = host.job(2);
        let first = job.attempt();
        first.prepare().end().with_code(2).with_text(&["not free within", "retry:"]);
        first.finish();
        let second = job.attempt();
        let ended = second.prepare().end().with_code(2).with_text(&["not free within"]);
        assert!(!ended.text().contains("place"), "it does not wait again: {}", ended.text());
        second.finish();
        holder.finish();
        let anew = host.job(3).prepared();
        anew.finish();
        host.is_clean_soon();
    }
}

#[test]
fn a_queue_is_no_longer_than_its_rule_says() {
    for host in hosts("max_queue: 1") {
        let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
        let waiting = waiter.prepare();
        host.until_queued(&[2]);
        let late = host.job(3).of_version(Version::V14).attempt();
        late.prepare().end().with_code(1).with_text(&["max_queue", "1"]);
        late.finish();
        assert_eq!(host.queue(), [2]);
        holder.finish();
        ends(&host, waiting, &waiter);
        host.is_clean_soon();
    }
}

#[test]
fn no_more_jobs_wait_on_a_host_than_its_file_says() {
    for host in [Host::local("max_waiting: 1"), Host::dynamodb("max_waiting: 1")] {
        let (holder, waiter) = (host.job(1).prepared(), host.job(2).attempt());
        let waiting = waiter.prepare();
        host.until_queued(&[2]);
        let late = host.job(3).attempt();
        late.prepare().end().with_code(1).with_text(&["max_waiting"]);
        late.finish();
        let other = host.job(4).variable("PIPELINE_LOCK", "other").prepared();
        other.finish();
        holder.finish();
        ends(&host, waiting, &waiter);
        host.is_clean_soon();
    }
}
