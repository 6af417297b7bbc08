//! `fleet-simulator`. The library contains everything else.

use std::process::ExitCode;

use clap::Parser;
use fleet_simulator::cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    match fleet_simulator::run::run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
