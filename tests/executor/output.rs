//! A script's output: every byte, in its order, whoever reads it.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Host, Stage, Version, eventually};

#[test]
fn two_streams_keep_the_order_in_which_they_were_written() {
    let expected: String = (1..=1000).map(|i| format!("out {i}\nerr {i}\n")).collect();
    for version in [Version::V14, Version::V19] {
        let host = Host::local("");
        let job = host.job(1).of_version(version).prepared();
        let script = "for i in $(seq 1000); do echo out $i; echo err $i >&2; done";
        let ended = job.script_ends(script).with_code(0);
        assert!(ended.text() == expected, "{version:?}: the lines are not in their order");
        assert_eq!(ended.error_text(), "");
        job.finish();
        host.is_clean_soon();
    }
}

#[test]
fn bytes_pass_as_they_are() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    assert_eq!(job.script_ends("printf 'no newline'").with_code(0).out, b"no newline");
    assert_eq!(job.script_ends(r"printf '\0\377\x1b[31m\r\n\xc3\x28'").out, b"\0\xff\x1b[31m\r\n\xc3\x28");
    assert_eq!(job.script_ends("true").out, b"");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn ten_megabytes_come_out_whole() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let ended = job.script_ends("seq -f '%09.0f' 1000000").with_code(0);
    let expected: String = (1..=1_000_000).map(|i| format!("{i:09}\n")).collect();
    assert!(ended.out == expected.as_bytes(), "{} bytes of 10,000,000", ended.out.len());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_slow_reader_misses_nothing() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let (mut reader, writer) = io::pipe().unwrap();
    let script = job.script(&format!("seq 60000; {}", host.tells("written", "$$")));
    let mut stage = Stage::start_into(job.command(&["run", &script, "build_script"]), OwnedFd::from(writer));
    let (mut got, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    // More than a pipe holds: the script has to wait for this reader.
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(20));
        let read = reader.read(&mut buffer).unwrap();
        got.extend(&buffer[..read]);
    }
    assert!(stage.runs() && !host.path().join("written").exists(), "the script went on without its reader");
    reader.read_to_end(&mut got).unwrap();
    stage.end().with_code(0);
    let expected: String = (1..=60_000).map(|i| format!("{i}\n")).collect();
    assert!(got == expected.as_bytes(), "{} bytes of {}", got.len(), expected.len());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_reader_that_stops_reading_for_longer_than_the_drain_still_gets_the_end() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let (mut reader, writer) = io::pipe().unwrap();
    let script = job.script(&format!("seq 20000; {}", host.tells("done", "$$")));
    let stage = Stage::start_into(job.command(&["run", &script, "build_script"]), OwnedFd::from(writer));
    eventually("the script is done", || host.path().join("done").exists());
    // A runner whose own log is slow: longer than the second for which a left-behind child is drained.
    thread::sleep(Duration::from_millis(1500));
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    stage.end().with_code(0);
    let expected: String = (1..=20_000).map(|i| format!("{i}\n")).collect();
    assert!(got == expected.as_bytes(), "{} bytes of {}", got.len(), expected.len());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_whose_reader_is_gone_still_comes_to_its_end() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let (reader, writer) = io::pipe().unwrap();
    let script = job.script(&format!("{} seq 100000; {}", host.gate("go"), host.tells("end", "$$")));
    let stage = Stage::start_into(job.command(&["run", &script, "build_script"]), OwnedFd::from(writer));
    host.until_reached("go");
    drop(reader);
    host.open("go");
    eventually("the script is at its end", || host.path().join("end").exists());
    stage.end().with_code(0);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn output_may_be_a_file() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let path = host.path().join("log");
    let mut file = File::options().read(true).append(true).create(true).open(&path).unwrap();
    let script = job.script("seq 1000");
    let stage =
        Stage::start_into(job.command(&["run", &script, "build_script"]), file.try_clone().unwrap().into());
    stage.end().with_code(0);
    let mut got = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut got).unwrap();
    assert_eq!(got, (1..=1000).map(|i| format!("{i}\n")).collect::<String>());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_child_that_holds_the_output_open_does_not_hold_the_stage_up() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let before = Instant::now();
    let ended = job.script_ends(&format!("setsid sleep 600 & {} echo over", host.tells("child", "$!")));
    let took = before.elapsed();
    assert_eq!(ended.with_code(0).text(), "over\n");
    assert!(took < Duration::from_secs(3), "the stage took {took:?}");
    assert!(host.told("child").lives());
    job.finish();
    host.is_clean_soon();
}

#[test]
fn what_a_child_writes_within_the_drain_is_in_the_log() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let ended = job.script_ends("(sleep 0.2; echo late) & echo over").with_code(0);
    assert_eq!(ended.text(), "over\nlate\n");
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_script_that_closes_its_output_still_comes_to_its_own_end() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let script = job.raw_script(&format!("echo said; exec >&- 2>&-\n{}exit 9", host.gate("go")));
    let mut run = Stage::start(job.command(&["run", &script, "build_script"]), false);
    host.until_reached("go");
    run.says("said");
    assert!(run.runs(), "the end of the output is not the end of the script");
    host.open("go");
    assert_eq!(run.end().with_code(1).text(), "said\n");
    assert_eq!(job.exit_code(), Some(9));
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_left_behind_child_that_never_stops_writing_does_not_hold_the_stage_up() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let before = Instant::now();
    job.script_ends("yes & echo over").with_code(0).with_text(&["over\n"]);
    assert!(before.elapsed() < Duration::from_secs(4), "the stage took {:?}", before.elapsed());
    job.finish();
    host.is_clean_soon();
}
