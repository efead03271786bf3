//! What the tests of the real program share: a host with its file, state and store; jobs as the runner hands
//! them over; and what happens to their processes.

mod host;
mod job;
mod process;
mod proxy;
mod stage;
mod wait;

pub use host::{Host, LOCK, Store, endpoint};
pub use job::{Attempt, Job, Version};
pub use process::Process;
pub use proxy::Proxy;
pub use stage::{Ended, Stage};
pub use wait::{eventually, found, within};
