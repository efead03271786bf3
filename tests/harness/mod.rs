//! What the tests of the real program share: a host with its file, state and store; jobs as the runner hands
//! them over; and what happens to their processes.

mod host;
mod job;
mod process;
mod proxy;
mod runner;
mod stage;
mod stand_in;
mod wait;

pub use host::{Host, LOCK, Site, Store, endpoint};
pub use job::{Attempt, Job, Version};
pub use process::Process;
pub use proxy::Proxy;
pub use runner::Outcome;
pub use stage::{Ended, Stage};
pub use stand_in::{StandIn, Step, act};
pub use wait::{eventually, found, within};
