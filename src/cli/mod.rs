//! The command line: one file per subcommand.

mod acquire;
mod args;
mod around;
mod exec;
mod executor;
mod exit;
mod explain;
mod here_job;
mod history;
mod keeper;
mod list;
mod lock_status;
mod logging;
mod main;
mod manner_args;
mod operator_args;
mod release;
mod reserve;
mod sentinel;
mod static_note;
mod status;
mod store_args;
mod table;
mod try_job;
mod unlock;
mod variables;
mod wanted;
mod watch;

pub use args::{Cli, Command};
pub use exit::Exit;
pub use main::main;
