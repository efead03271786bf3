//! How a lock is taken that a command names itself.

use clap::{Args, value_parser};

use crate::{
    config::WantedLock,
    lock::{Limit, MAX_HOLDERS, Mode, Order, PRIORITIES},
};

/// How a named lock is taken. A lock of the file's rules has its rule's word for each of these.
#[derive(Clone, Debug, Default, Args)]
pub struct MannerArgs {
    /// With --name: together with other shared holds, and with no exclusive one
    #[arg(long, requires = "name")]
    pub shared: bool,
    /// With --name: so many may hold it at once, 1 to 100 [default: 1, with --shared any number]
    #[arg(long, value_name = "N", requires = "name", value_parser = value_parser!(u32).range(1..=MAX_HOLDERS as i64))]
    pub limit: Option<u32>,
    /// With --name: higher goes first, -100 to 100 [default: 0]
    #[arg(long, value_name = "N", requires = "name", allow_negative_numbers = true,
        value_parser = value_parser!(i32).range(*PRIORITIES.start() as i64..=*PRIORITIES.end() as i64))]
    pub priority: Option<i32>,
    /// With --name: before all who wait with the same priority
    #[arg(long, requires = "name")]
    pub newest: bool,
    /// With --name: fail at once where so many wait already, this one counted
    #[arg(long, value_name = "N", requires = "name", value_parser = value_parser!(u32).range(1..=10_000))]
    pub max_queue: Option<u32>,
}

impl MannerArgs {
    /// `plain`, taken in this way.
    pub fn of(&self, plain: WantedLock) -> WantedLock {
        let mode = if self.shared { Mode::Shared } else { Mode::Exclusive };
        WantedLock {
            mode,
            limit: self.limit.map_or_else(|| mode.default_limit(), Limit),
            order: if self.newest { Order::Newest } else { Order::First },
            priority: self.priority.unwrap_or(0),
            max_queue: self.max_queue,
            ..plain
        }
    }
}
