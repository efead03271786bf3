//! What the tests of the real program share: a host with its file, state and store; jobs as the runner hands
//! them over; what happens to their processes; and the way to the store, with its faults.

#![expect(dead_code, unused_imports, reason = "each kind of test uses a part of it")]

mod fault;
mod host;
mod job;
mod other_user;
mod process;
mod proxy;
mod stage;
mod wait;
mod wire;

pub use fault::Fault;
pub use host::{Host, LOCK, Store, endpoint};
pub use job::{Attempt, Job, Version};
pub use other_user::{NOBODY, NOBODYS_ID};
pub use process::Process;
pub use proxy::Proxy;
pub use stage::{Ended, Stage};
pub use wait::{eventually, found, within};
pub use wire::{Kind, Message};
