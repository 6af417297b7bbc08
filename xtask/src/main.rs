//! The project's commands: `cargo xtask demo | chaos | rehearse | bench | test | ci | services`.

mod bench;
mod ci;
mod services;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fleet_harness::{Cargo, Failure, Interrupt};

/// The project's commands. They need no Docker: they start a private Redis and TimescaleDB. Commands that are
/// not limited to private servers use FLEET_TEST_REDIS_URL and FLEET_TEST_DATABASE_URL instead if both are
/// set.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system against simulated providers and check that it applied every report.
    Demo(fleet_demo::Args),
    /// Kill, freeze and restart everything under load and check that nothing is lost. Always uses private
    /// servers.
    Chaos(fleet_chaos::Args),
    /// Build the binaries and compare their performance with minimal references. Always uses private servers.
    Bench(bench::Args),
    /// Replay a day of load without a cluster; replicas are scaled by the rules of the production HPA.
    Rehearse(fleet_rehearsal::Args),
    /// Build the binaries and run every test against a real Redis and TimescaleDB.
    Test(test::Args),
    /// Run what CI runs: formatting, clippy, then every test, including the checks of deploy/k8s.
    Ci,
    /// Start a Redis and a TimescaleDB, print their URLs and keep them running until Ctrl-C.
    Services(services::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let cargo = Cargo::locate()?;
    match &cli.command {
        Command::Demo(args) => fleet_demo::run(args, &cargo, &interrupt),
        Command::Chaos(args) => fleet_chaos::run(args, &cargo, &interrupt),
        Command::Bench(args) => bench::run(args, &cargo, &interrupt),
        Command::Rehearse(args) => fleet_rehearsal::run(args, &cargo, &interrupt),
        Command::Test(args) => test::run(args, &cargo, &interrupt),
        Command::Ci => ci::run(&cargo, &interrupt),
        Command::Services(args) => services::run(args, &interrupt),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
