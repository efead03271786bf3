//! One process as the runner starts a stage: its own process group, nothing to read, its output in pipes.

use std::{
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{Process, eventually};

/// No stage of these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stage that runs. Dropped before its end, it is killed with its group.
pub struct Stage {
    child: Child,
    out: Heard,
    err: Heard,
}

/// How a stage ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

/// What comes out of a pipe.
#[derive(Default)]
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stage {
    /// Starts `command` with two pipes, or with one for both.
    pub fn start(mut command: Command, one_pipe: bool) -> Self {
        command.process_group(0).stdin(Stdio::null());
        if one_pipe {
            let (reader, writer) = io::pipe().expect("a pipe");
            command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
            let child = command.spawn().expect("the stage starts");
            // The writing ends that this process has would keep the pipe open.
            drop(command);
            return Self { child, out: Heard::from(reader), err: Heard::default() };
        }
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the stage starts");
        let out = Heard::from(child.stdout.take().expect("a pipe"));
        let err = Heard::from(child.stderr.take().expect("a pipe"));
        Self { child, out, err }
    }

    /// Starts `command` with this one descriptor as its whole output.
    pub fn start_into(mut command: Command, output: OwnedFd) -> Self {
        let other = output.try_clone().expect("a descriptor");
        let child = command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(other).spawn();
        Self { child: child.expect("the stage starts"), out: Heard::default(), err: Heard::default() }
    }

    pub fn process(&self) -> Process {
        Process::find(self.child.id().cast_signed()).expect("the stage runs")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// TERM to the group, as the runner sends it.
    pub fn term(&self) {
        self.signal(Signal::TERM);
    }

    /// A signal to the group.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).expect("the stage runs");
    }

    /// `kill -9` of the stage alone.
    pub fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).expect("the stage runs");
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }

    /// What it has written so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.out.bytes.lock().expect("the reader lives")).into_owned()
    }

    /// Waits until it has written `text`.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(&format!("{text:?} in the output"), || self.said().contains(text));
    }

    /// Waits, as the runner does, for the end of the process and of its pipes.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child")
                && self.out.is_over()
                && self.err.is_over()
            {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the stage does not end; it said: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        };
        Ended { code: status.code(), signal: status.signal(), out: self.out.take(), err: self.err.take() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.runs() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// It must have ended with `code`.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(
            (self.code, self.signal),
            (Some(code), None),
            "it said: {}{}",
            self.text(),
            self.error_text()
        );
        self
    }

    /// Its output must have all of `parts`.
    #[track_caller]
    pub fn with_text(self, parts: &[&str]) -> Self {
        let said = self.text() + &self.error_text();
        for part in parts {
            assert!(said.contains(part), "{part:?} is missing in: {said}");
        }
        self
    }
}

impl Heard {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let sink = bytes.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(got @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("no thread panics with it").extend(&buffer[..got]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn is_over(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().expect("no thread panics with it"))
    }
}
