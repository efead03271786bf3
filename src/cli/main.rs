//! From the command line to the exit code.

use std::{path::Path, process::ExitCode, time::Duration};

use clap::Parser;

use super::{
    Cli, Command, Exit, acquire, args::TableCommand, exec, executor, exit, explain, history, keeper, list,
    logging, release, reserve, sentinel, status, table, try_job, unlock, watch,
};
use crate::{
    config::{self, Config},
    executor::Sentinel,
    report,
};

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(matches!(cli.command, Command::Keeper { .. } | Command::Sentinel { .. }));
    match cli.command {
        Command::Executor(stage) => executor::run(&stage, cli.config.as_deref()),
        Command::Keeper { .. } => keeper::run(),
        Command::Sentinel { token, state, kill_grace, cgroup } => {
            let kill_grace = Duration::from_millis(kill_grace);
            sentinel::run(&Sentinel { state, token, cgroup, kill_grace })
        }
        command => match run(command, cli.config.as_deref()) {
            Ok(exit) => exit.into(),
            Err(error) => {
                report::warn(&format!("pipeline-lock: {}", report::with_causes(&error)));
                if error.is::<exit::Usage>() { Exit::Usage } else { Exit::Unusable }.into()
            }
        },
    }
}

fn run(command: Command, file: Option<&Path>) -> anyhow::Result<Exit> {
    let config = load(file)?;
    match command {
        Command::Acquire(args) => acquire::run(&args, &config),
        Command::Release(args) => release::run(&args, &config),
        Command::Exec(args) => exec::run(args, &config),
        Command::Status(args) => status::run(&args, &config),
        Command::List(args) => list::run(&args, &config),
        Command::History(args) => history::run(&args, &config),
        Command::Watch(args) => watch::run(&args, &config),
        Command::Explain(args) => explain::run(&args, &config),
        Command::Unlock(args) => unlock::run(&args, &config),
        Command::Reserve(args) => reserve::run(&args, &config),
        Command::Table(TableCommand::Create { store }) => table::create(&store, &config),
        Command::Try(args) => try_job::run(&args, file),
        Command::Executor(_) | Command::Keeper { .. } | Command::Sentinel { .. } => {
            unreachable!("these are run before")
        }
    }
}

/// Reads the configuration.
pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    // The message has its cause in it already.
    config::load(file).map_err(|error| anyhow::Error::msg(error.to_string()))
}

/// A runtime for commands that talk to the store themselves.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
