//! Whoever runs as the keeper's own user can talk to it: it takes nonsense from nobody, and loses no lock by it.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

use pipeline_lock::keeper::{Ask, CommandBlock, Tell, VERSION};
use rustix::pipe::pipe;

use crate::{
    attacker::{connect, keepers_folder},
    harness::Host,
};

#[test]
fn nonsense_on_the_socket_costs_nobody_a_lock() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let socket = keepers_folder(&host, &job).socket();
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    let deep = format!("{{\"ask\":{}", "[".repeat(100_000));
    let nonsense: Vec<Vec<u8>> = vec![
        vec![],
        vec![0xff; 4096],
        vec![0, 0],
        u32::MAX.to_be_bytes().to_vec(),
        framed(b""),
        framed(b"null"),
        framed(deep.as_bytes()),
        framed(br#"{"ask":"signal","number":-2147483648}"#),
        framed(br#"{"ask":"signal","number":9999999999}"#),
        framed(br#"{"ask":"obey"}"#),
        framed(br#"{"ask":"run","version":1,"stage":"x"}"#),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for bytes in &nonsense {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It may have closed before all was said.
        let _ = stream.write_all(bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    job.script_ends("echo works").with_code(0).with_text(&["works"]);
    drop(silent);
    assert_eq!(host.holders(), [1]);
    job.finish();
    host.is_clean_soon();
}

#[test]
fn a_job_cannot_have_a_second_command_run_beside_its_own() {
    let host = Host::local("");
    let job = host.job(1).prepared();
    let run = job.run("build_script", &host.gate("runs"));
    host.until_reached("runs");
    let connection = connect(&host, &job);
    let block = CommandBlock::from_here(vec!["true".into()], vec![]).to_memory().unwrap();
    let (_reader, sink) = pipe().unwrap();
    let ask = Ask::Run { version: VERSION, stage: "mine".into() };
    connection.ask(&ask, &[block.as_fd(), sink.as_fd(), sink.as_fd()]).unwrap();
    let told = connection.hear().unwrap();
    assert!(
        matches!(&told, Some(Tell::Refused { message, .. }) if message.contains("still running")),
        "{told:?}"
    );
    host.open("runs");
    run.end().with_code(0);
    job.finish();
    host.is_clean_soon();
}
