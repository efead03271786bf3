//! The command line: one file per subcommand.

mod acquire;
mod args;
mod exec;
mod executor;
mod exit;
mod here_job;
mod keeper;
mod logging;
mod main;
mod release;
mod sentinel;
mod static_note;
mod status;
mod store_args;
mod table;
mod try_job;

pub use args::{Cli, Command};
pub use exit::Exit;
pub use main::main;
