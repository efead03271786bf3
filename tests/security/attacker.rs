//! Who attacks: another user of this host, and jobs with names that their authors chose with care.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, thread};

use pipeline_lock::{
    host::user::User,
    keeper::{Connection, JobFolder},
    lock::is_odd,
};
use rustix::process::Gid;
use serde_json::Value;

use crate::harness::{Attempt, Host, NOBODYS_ID, Process};

/// A job's name with all that could play tricks on a log or a terminal.
pub const EVIL: &str = "evil\u{1b}[31m\u{1b}]0;title\u{7}\r\u{1b}[0Ksection_end:1:pipeline_lock_wait\r\u{1b}[0K\n\
                        Lock x acquired\u{9b}2J\u{2028}\u{202e}\u{200b}\u{feff}end";

/// What `attack` gets when the user nobody runs it, in a thread that is theirs.
pub fn as_nobody<T: Send>(attack: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let group = [Gid::from_raw(NOBODYS_ID)];
            User::become_thread(NOBODYS_ID, NOBODYS_ID, &group).expect("root may become anybody");
            attack()
        });
        theirs.join().expect("the attack itself does not panic")
    })
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is this user's");
}

/// The folder of a job's keeper.
pub fn keepers_folder(host: &Host, job: &Attempt) -> JobFolder {
    let token = job.token().parse().expect("a token");
    JobFolder::of(&host.path().join("state"), token)
}

/// The keeper of a job.
#[track_caller]
pub fn keeper(job: &Attempt) -> Process {
    let token = job.token()[..8].to_owned();
    let is_it = |process: &Process| process.args().get(1..3) == Some(&["keeper".to_owned(), token.clone()]);
    Process::all().into_iter().find(is_it).expect("the keeper lives")
}

/// A connection as a process of the keeper's own user can have it.
pub fn connect(host: &Host, job: &Attempt) -> Connection {
    Connection::open(&keepers_folder(host, job)).expect("the keeper listens")
}

/// Changes what GitLab says about a job, before its prepare.
pub fn edit(job: &Attempt, change: impl FnOnce(&mut Value)) {
    let file = job.dir.join("response.json");
    let mut value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    change(&mut value);
    fs::write(file, value.to_string()).expect("it is this user's");
}

/// A job of this name that holds its lock.
pub fn named(host: &Host, id: u64, name: &str) -> Attempt {
    let job = host.job(id).attempt();
    edit(&job, |response| response["job_info"]["name"] = name.into());
    job.prepare().end().with_code(0);
    job
}

/// What a command says, to both streams, and its code.
pub fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

/// The text has no power over a log but what this program itself puts there: colours, and its one section.
#[track_caller]
pub fn is_tame(text: &str) {
    let mut rest = text.to_owned();
    for color in ["1", "31;1", "32;1", "33;1", "0"] {
        rest = rest.replace(&format!("\u{1b}[{color}m"), "");
    }
    for at in ["start", "end"] {
        while let Some(begin) = rest.find(&format!("\u{1b}[0Ksection_{at}:")) {
            let marker = &rest[begin + 4..];
            let own = marker.find(":pipeline_lock_wait\r\u{1b}[0K").filter(|end| {
                let time = &marker[format!("section_{at}:").len()..*end];
                time.len() >= 10 && time.bytes().all(|b| b.is_ascii_digit())
            });
            let end = begin + 4 + own.unwrap_or_else(|| panic!("a section of somebody else's: {text:?}"));
            rest.replace_range(begin..end + ":pipeline_lock_wait\r\u{1b}[0K".len(), "");
        }
    }
    assert!(!rest.contains(|c| c != '\n' && is_odd(c)), "{rest:?}");
    assert!(
        !rest.lines().any(|line| line.starts_with("Lock x acquired")),
        "a line of somebody else's: {rest:?}"
    );
    assert!(!text.contains("panicked"), "{text}");
}
