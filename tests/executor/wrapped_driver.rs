//! A host whose jobs' work is done by another driver: see `driver.sh`.

use std::{collections::BTreeMap, fs};

use crate::harness::{Host, Store};

/// The file's lines for it; `more` has other keys of `driver`.
pub fn settings(more: &str) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/executor/driver.sh");
    let stages = ["config", "prepare", "run", "cleanup"];
    let lines = stages.map(|stage| format!("  {stage}_exec: {program}\n  {stage}_args: [{stage}]\n"));
    format!("driver:\n{}{more}\n", lines.concat())
}

/// A host with a local store and this driver.
pub fn host(more: &str) -> Host {
    Host::local(&settings(more))
}

/// A host with a table of its own and this driver.
pub fn on_a_table(more: &str) -> Host {
    Host::new(&Store::table(), &settings(more))
}

impl Host {
    /// What the driver does when it is called as `call`.
    pub fn driver_does(&self, call: &str, lines: &str) {
        let folder = self.path().join("driver");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("do.{call}")), lines).unwrap();
    }

    /// The arguments of its calls so far; the paths of scripts are left out.
    pub fn driver_calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("driver/calls")).unwrap_or_default();
        let without_path = |line: &str| -> String {
            line.split(' ').filter(|word| !word.starts_with('/')).collect::<Vec<_>>().join(" ")
        };
        text.lines().map(without_path).collect()
    }

    /// How often it was called as `call`.
    pub fn driver_called(&self, call: &str) -> usize {
        self.driver_calls().iter().filter(|line| line.split(' ').next() == Some(call)).count()
    }

    /// The environment of its last call as `call`.
    pub fn driver_environment(&self, call: &str) -> BTreeMap<String, String> {
        let bytes = fs::read(self.path().join("driver").join(format!("env.{call}"))).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// A line of the driver that notes who holds the lock at that moment, in a file of this name.
    pub fn notes_holders(&self, name: &str) -> String {
        let program = env!("CARGO_BIN_EXE_pipeline-lock");
        let (dir, lock) = (self.path().display(), crate::harness::LOCK);
        format!(
            "{program} --config {dir}/direct.yaml status {lock} --json >{dir}/{name}.part; mv {dir}/{name}.part {dir}/{name}\n"
        )
    }

    /// The ids of the jobs that held the lock at that moment.
    #[track_caller]
    pub fn noted_holders(&self, name: &str) -> Vec<u64> {
        let text = fs::read_to_string(self.path().join(name)).expect("it was noted");
        let status: serde_json::Value = serde_json::from_str(&text).expect("status speaks JSON");
        let holders = status["holders"].as_array().expect("a list").iter();
        holders.map(|holder| holder["who"]["job_id"].as_u64().unwrap_or(0)).collect()
    }
}
