//! How things are said: to a job's log, to people at a terminal, to programs.

mod clean;
mod job_log;
mod say;
mod section;
mod time;

pub use clean::clean;
pub use job_log::{JobLog, named};
pub use say::{say, warn};
pub use section::Section;
pub use time::{ago, clock_time};
