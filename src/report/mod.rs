//! How things are said: to a job's log, to people at a terminal, to programs.

mod holder;
mod job_log;
mod say;
mod section;
mod table;
mod time;

pub use crate::lock::clean;
pub use holder::{holder_name, named, named_short, pipeline_of, taken_by};
pub use job_log::JobLog;
pub use say::{say, warn, with_causes};
pub use section::Section;
pub use table::table;
pub use time::{ago, clock_time};
