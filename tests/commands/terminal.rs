//! The program at a terminal, which `script` makes for it.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::harness::{Host, eventually, found};

/// A program at a terminal of its own.
pub struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts the program with a terminal for everything.
    pub fn start(host: &Host, args: &[&str]) -> Self {
        let program = host.command(args);
        let words: Vec<String> = std::iter::once(program.get_program())
            .chain(program.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("plain words")))
            .collect();
        let mut script = Command::new("script");
        script
            .args(["-qfec", &format!("exec {}", words.join(" ")), "/dev/null"])
            .env_clear()
            .current_dir(host.path());
        script.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
        script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = script.spawn().expect("`script` of util-linux is there");
        let (shown, mut output) = (Arc::<Mutex<Vec<u8>>>::default(), child.stdout.take().expect("a pipe"));
        let sink = shown.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(got @ 1..) = output.read(&mut buffer) {
                sink.lock().expect("no thread panics with it").extend(&buffer[..got]);
            }
        });
        let keys = child.stdin.take();
        Self { child, keys, shown }
    }

    /// All that it has shown.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no thread panics with it")).into_owned()
    }

    #[track_caller]
    pub fn shows(&self, text: &str) {
        eventually(&format!("{text:?} on the terminal"), || self.shown().contains(text));
    }

    /// Presses keys.
    pub fn types(&mut self, keys: &str) {
        let input = self.keys.as_mut().expect("the terminal is open");
        input.write_all(keys.as_bytes()).and_then(|()| input.flush()).expect("the terminal is open");
    }

    /// Waits for the program's end: its exit code, and all that was shown.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = found("the end", || self.child.try_wait().expect("it is a child"));
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
