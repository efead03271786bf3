//! What of this process's surroundings the configuration depends on.

use std::ffi::OsString;
use std::path::PathBuf;

/// The variable that names the configuration's file.
pub const CONFIG_VARIABLE: &str = "PIPELINE_LOCK_CONFIG";

/// What the search for the file and the defaults of folders depend on.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `$PIPELINE_LOCK_CONFIG`.
    pub config: Option<OsString>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// Whether the user is root.
    pub root: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        Self {
            config: std::env::var_os(CONFIG_VARIABLE),
            home: path("HOME"),
            state_home: path("XDG_STATE_HOME"),
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// The folder of the keeper's state where the file names none: root's is the system's, another user's is
    /// their own. A relative path in a variable is ignored, as the XDG base directory specification asks.
    pub(super) fn state_folder(&self) -> Option<PathBuf> {
        if self.root {
            return Some(PathBuf::from("/var/lib/pipeline-lock"));
        }
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        let state = absolute(&self.state_home).or_else(|| Some(absolute(&self.home)?.join(".local/state")));
        Some(state?.join("pipeline-lock"))
    }

    /// The places that are looked at where no file is named, in order.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let home = self.home.as_ref().filter(|home| home.is_absolute());
        let own = home.map(|home| home.join(".config/pipeline-lock/config.yaml"));
        [Some(PathBuf::from("/etc/pipeline-lock/config.yaml")), own].into_iter().flatten().collect()
    }
}
