//! One shell, in an empty home, with the built binary on its path.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Stands alone on the line behind each command's output, with the exit code after it.
const MARK: &str = "=== end of a documented command:";

/// A shell that is told everything before it starts.
pub struct Session {
    home: TempDir,
    script: String,
}

/// What a command printed, without colours, and how it ended.
pub struct Ran {
    pub output: String,
    pub code: i32,
}

impl Session {
    pub fn new() -> Self {
        let mut session = Self { home: tempfile::tempdir().unwrap(), script: String::new() };
        session.configure("");
        session
    }

    /// The host's configuration is `yaml` from here on; the state is in this session's own home.
    pub fn configure(&mut self, yaml: &str) {
        let home = self.home.path().display();
        self.script += &format!("cat > {home}/config.yaml <<'END'\nstate: {home}/state\n{yaml}END\n");
    }

    /// Runs a command.
    pub fn run(&mut self, command: &str) {
        self.script += &format!("{command}\nprintf '\\n{MARK} %d\\n' $?\n");
    }

    /// Starts the shell and waits for its end.
    pub fn finish(self) -> Vec<Ran> {
        let home = self.home.path();
        let output = home.join("output");
        let file = fs::File::create(&output).unwrap();
        let mut shell = Command::new("timeout");
        shell.args(["300", "bash", "-c", &self.script]).current_dir(home).env_clear().envs(environment(home));
        shell.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        shell.status().unwrap();
        split(&fs::read_to_string(output).unwrap())
    }
}

fn environment(home: &Path) -> Vec<(&'static str, String)> {
    let binaries = Path::new(env!("CARGO_BIN_EXE_pipeline-lock")).parent().unwrap();
    let endpoint = env::var("PIPELINE_LOCK_TEST_DYNAMODB")
        .expect("PIPELINE_LOCK_TEST_DYNAMODB is not set: run these tests by tests/run");
    vec![
        ("HOME", home.display().to_string()),
        ("LANG", "C.UTF-8".into()),
        ("PATH", format!("{}:{}", binaries.display(), env::var("PATH").unwrap_or_default())),
        ("PIPELINE_LOCK_CONFIG", home.join("config.yaml").display().to_string()),
        ("AWS_ACCESS_KEY_ID", "test".into()),
        ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ("AWS_REGION", "eu-central-1".into()),
        ("AWS_ENDPOINT_URL", endpoint),
    ]
}

fn split(output: &str) -> Vec<Ran> {
    let mut ran = Vec::new();
    let mut printed = String::new();
    for line in output.lines() {
        if let Some(code) = line.strip_prefix(MARK) {
            let text = printed.strip_suffix('\n').unwrap_or(&printed);
            ran.push(Ran { output: text.to_owned(), code: code.trim().parse().unwrap() });
            printed.clear();
        } else {
            printed += &plain(line);
            printed.push('\n');
        }
    }
    ran
}

/// A line as GitLab shows it: without colours and the marks of sections.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.rsplit('\r').next().unwrap_or(line);
    while let Some(at) = rest.find("\x1b[") {
        text += &rest[..at];
        rest = rest[at + 2..].split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    text + rest
}
