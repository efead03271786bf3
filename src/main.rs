//! The program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipeline_lock::cli::main()
}
