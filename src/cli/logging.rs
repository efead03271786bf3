//! What an operator may need to know, to standard error; `PIPELINE_LOCK_LOG` sets how much, and the form.

use std::io;

use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

/// The variable that sets the level (`error`, `warn`, `info`, `debug`, `trace`, `off`), and the form: a level
/// with `,json` behind it writes JSON.
pub const VARIABLE: &str = "PIPELINE_LOCK_LOG";

/// Starts logging. A keeper has a log of its own and says more; everything else says what is wrong only.
pub fn start(is_keeper: bool) {
    let setting = std::env::var(VARIABLE).unwrap_or_default();
    let (level, is_json) = match setting.strip_suffix(",json") {
        Some(level) => (level, true),
        None if setting == "json" => ("", true),
        None => (setting.as_str(), false),
    };
    let default = if is_keeper { tracing::Level::INFO } else { tracing::Level::ERROR };
    let level = match level.trim() {
        "" => default.into(),
        text => text.parse().unwrap_or_else(|_| {
            eprintln!("pipeline-lock: {VARIABLE}={setting}: not a level; known are error, warn, info, debug, trace, off");
            tracing::level_filters::LevelFilter::from(default)
        }),
    };
    let targets = Targets::new().with_target("pipeline_lock", level);
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    let layer = if is_json { layer.json().boxed() } else { layer.boxed() };
    registry().with(layer.with_filter(targets)).init();
}
