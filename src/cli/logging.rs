//! What an operator may need to know, to standard error; `PIPELINE_LOCK_LOG` sets how much, and the form.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::report;

/// The variable that sets the level (`error`, `warn`, `info`, `debug`, `trace`, `off`), and the form: a level
/// with `,json` behind it writes JSON.
pub const VARIABLE: &str = "PIPELINE_LOCK_LOG";

/// How large a keeper's log may grow, in bytes; then it begins anew.
const KEEPER_LOG: u64 = 4 << 20;

/// Standard error: for a keeper a file, which must not fill the disk however long the job runs.
struct Bounded {
    bound: Option<u64>,
}

impl Write for Bounded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let out = io::stderr();
        if let Some(bound) = self.bound {
            begin_anew_over(out.as_fd(), bound)?;
        }
        out.lock().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Empties a file that has grown over `bound`. It is open for appending: what is written next begins it anew.
fn begin_anew_over(file: BorrowedFd<'_>, bound: u64) -> io::Result<()> {
    if rustix::fs::fstat(file).is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size > bound)) {
        rustix::fs::ftruncate(file, 0)?;
    }
    Ok(())
}

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
            report::warn(&format!("pipeline-lock: {VARIABLE}={setting}: not a level; known are error, warn, info, debug, trace, off"));
            tracing::level_filters::LevelFilter::from(default)
        }),
    };
    let targets = Targets::new().with_target("pipeline_lock", level);
    let bound = if is_keeper { Some(KEEPER_LOG) } else { None };
    let writer = move || Bounded { bound };
    let layer = fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let layer = if is_json { layer.json().boxed() } else { layer.boxed() };
    registry().with(layer.with_filter(targets)).init();
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_log_over_its_bound_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.log");
        let file = File::options().create(true).append(true).open(&path).unwrap();
        for _ in 0..3 {
            begin_anew_over(file.as_fd(), 10).unwrap();
            (&file).write_all(b"12345678").unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap().len(), 8);
    }
}
