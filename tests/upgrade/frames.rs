//! The keeper's protocol by hand, as another version would speak it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

use crate::harness::{Attempt, Host};

/// The protocol that this version speaks, and the next one's.
pub const OURS: u32 = pipeline_lock::keeper::VERSION;
pub const NEXT: u32 = OURS + 1;

/// The folder of a job's keeper.
pub fn folder(host: &Host, job: &Attempt) -> PathBuf {
    host.path().join("state/jobs").join(job.token())
}

pub fn say(mut stream: &UnixStream, message: &Value) {
    let body = message.to_string();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], body.as_bytes()].concat()).unwrap();
}

/// The next message; none at the end.
pub fn hear(mut stream: &UnixStream) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    Some(serde_json::from_slice(&body).unwrap())
}
