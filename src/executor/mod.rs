//! The four stages that the runner calls, as thin clients of the job's keeper.

mod cleanup;
mod config_stage;
mod environment;
mod exit;
mod flow;
mod forsaken;
mod inner;
mod inner_cleanup;
mod inner_config;
mod limits;
mod prepare;
mod relay;
mod requeued;
mod run;
mod run_as;
mod sentinel;
mod signals;
mod supervise;
mod switch;

pub use cleanup::cleanup;
pub use config_stage::config;
pub use environment::StageEnvironment;
pub use exit::{OBSOLETE, StageExit};
pub use forsaken::bury_forsaken;
pub use inner_config::ConfigFailure;
pub use limits::Limits;
pub use prepare::{prepare, terms_of};
pub use run::run;
pub use sentinel::{Sentinel, leave_sentinel};
pub use signals::{Signals, Woken};
pub use supervise::{End, Left, Supervision, supervise};
