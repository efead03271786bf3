//! A user's home with the sources beside it. The installer runs as a user without root, who is nobody where the tests
//! run as root.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// The user and group of `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

pub struct Host {
    folder: TempDir,
}

/// What the installer said, and how it ended.
pub struct Said(Output);

impl Host {
    pub fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["home", "source", "source/install", "source/executor-config"] {
            fs::create_dir(host.folder.path().join(folder)).unwrap();
        }
        for folder in ["install", "executor-config"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    fs::copy(&path, host.file(folder).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        for file in ["install.sh", "Cargo.toml"] {
            fs::copy(root.join(file), host.file(file)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_pipeline-lock"), host.file("built")).unwrap();
        fs::set_permissions(host.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        host.give(&host.home());
        host
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file of the sources.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("source").join(name)
    }

    pub fn binary(&self) -> PathBuf {
        self.home().join(".local/bin/pipeline-lock")
    }

    pub fn config(&self) -> PathBuf {
        self.home().join(".config/pipeline-lock/config.yaml")
    }

    /// Writes a file of the user's.
    pub fn write(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        self.give(path);
    }

    /// Installs for this user, with the built binary.
    pub fn install(&self, more: &[&str]) -> Said {
        let built = self.file("built");
        let mut arguments = vec!["--user", "--binary", built.to_str().unwrap()];
        arguments.extend(more);
        self.script(&arguments)
    }

    /// Runs the script by `sh`, whatever shell that is.
    pub fn script(&self, arguments: &[&str]) -> Said {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
            command.args(["--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.arg(self.file("install.sh")).args(arguments).current_dir(self.home()).env_clear();
        command.env("HOME", self.home()).env("PATH", env::var_os("PATH").unwrap_or_default());
        Said(command.output().unwrap())
    }

    fn give(&self, path: &Path) {
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

impl Said {
    pub fn succeeds(self) -> String {
        let text = self.text();
        assert!(self.0.status.success(), "{}\n{text}", self.0.status);
        text
    }

    pub fn fails(self) -> String {
        let text = self.text();
        assert_eq!(self.0.status.code(), Some(1), "{text}");
        text
    }

    fn text(&self) -> String {
        let both = [self.0.stdout.as_slice(), self.0.stderr.as_slice()].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
