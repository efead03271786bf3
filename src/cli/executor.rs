//! The stages, as the runner calls them.

use std::{path::Path, process::ExitCode};

use super::args::Stage;
use crate::report;
use crate::{
    config::{self, Config},
    executor::{self, StageEnvironment},
};

/// Runs a stage.
pub fn run(stage: &Stage, file: Option<&Path>) -> ExitCode {
    let environment = StageEnvironment::read();
    let exit = match stage {
        Stage::Config => return config_stage(&environment, file),
        Stage::Prepare => executor::prepare(&environment, config::load(file).map_err(|e| e.to_string())),
        Stage::Run { script, stage } => executor::run(&environment, script, stage),
        Stage::Cleanup => executor::cleanup(&environment),
    };
    exit.code(&environment)
}

/// A file that can't be used is prepare's to report, in the job's log; here it would be lost.
fn config_stage(environment: &StageEnvironment, file: Option<&Path>) -> ExitCode {
    let config = config::load(file).or_else(|error| {
        tracing::warn!(%error, "the configuration can't be used");
        Config::built_in(&config::Environment::of_process())
    });
    match config {
        Ok(config) => match executor::config(&config) {
            Ok(answer) => {
                report::say(&answer);
                ExitCode::SUCCESS
            }
            Err(failure) => {
                report::warn(&format!("pipeline-lock: {}", failure.message));
                failure.exit.code(environment)
            }
        },
        Err(error) => {
            report::warn(&format!("pipeline-lock: {error}"));
            ExitCode::from(2)
        }
    }
}
