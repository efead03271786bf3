//! The environment of this process as a job's variables.

use std::{collections::BTreeMap, env, ffi::OsString};

use super::logging;
use crate::{
    client::MARKER,
    config::{CONFIG_VARIABLE, FOR_SCRIPTS},
};

/// The variable that has the tokens around an `exec` and that it does not have by [`MARKER`], innermost first.
pub const AROUND: &str = "PIPELINE_LOCK_AROUND";

/// What this process may have of ours and the job's author did not set to ask for anything.
const NOT_ASKED: &[&str] = &[MARKER, AROUND, CONFIG_VARIABLE, logging::VARIABLE];

/// This process's variables as the job's, but for those that are no text: none of GitLab's is one of them.
pub fn own_variables() -> BTreeMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let is_asked =
        |name: &String| !FOR_SCRIPTS.contains(&name.as_str()) && !NOT_ASKED.contains(&name.as_str());
    env::vars_os().filter_map(text).filter(|(name, _)| is_asked(name)).collect()
}
