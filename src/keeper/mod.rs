//! The process that owns a job's holds and processes, and the talk of the stages with it.

mod bury;
mod cleaning;
mod cleanings;
mod command;
mod connection;
mod ending;
mod endings;
mod estate;
mod folder;
mod freeze;
mod giving_back;
mod links;
mod locks;
mod open;
mod proof;
mod protocol;
mod rites;
mod script;
mod serve;
mod service;
mod shell;
mod spawn;
mod times;
mod wire;
mod wish;

pub use bury::{bury, bury_now, bury_within};
pub use command::CommandBlock;
pub use connection::{Connection, wait_for_end, wait_for_farewell};
pub use folder::{Deadline, JobFolder, KeeperRecord, keeper_of, newest_try};
pub use open::{open_client, open_here, table_settings};
pub use protocol::{Ask, Cleaned, Farewell, Got, Last, Launch, Scripts, Tell, Terms, VERSION};
pub use serve::serve;
pub use shell::Misfit;
pub use spawn::{DRIVER_PREFIX, TOKEN_VARIABLE, spawn, without_the_job};
pub use times::{BEFORE_THE_LEASE, KILL_LIMIT};
/// Only for `fuzz/`: frames are nobody else's business outside of this module.
#[doc(hidden)]
pub use wire::receive as receive_frame;
pub use wish::LockWish;
