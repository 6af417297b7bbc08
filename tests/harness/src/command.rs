//! The commands of the workspace's programs.

use std::io;
use std::path::Path;
use std::process::Command;

use fleet_testbed::free_port;

use crate::{Failure, Interrupt, Job};

/// The command of a program, without the user's own configuration, so that a run is the same everywhere. Only
/// the log filter is taken from the user; `log` is its default.
#[must_use]
pub fn of(bin_dir: &Path, program: &str, log: &str) -> Command {
    let mut command = Command::new(bin_dir.join(program));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("FLEET_") && name != "FLEET_LOG") {
            command.env_remove(name);
        }
    }
    if std::env::var_os("FLEET_LOG").is_none() {
        command.env("FLEET_LOG", log);
    }
    command
}

/// Runs a subcommand of the consumer while other consumers run. Its output goes to stderr.
///
/// # Errors
///
/// [`Failure::Exit`] with its status if it fails.
pub fn run_consumer(mut consumer: Command, subcommand: &str, interrupt: &Interrupt) -> Result<(), Failure> {
    consumer.arg(subcommand).stdout(io::stderr());
    consumer.env("FLEET_ADMIN__LISTEN", format!("127.0.0.1:{}", free_port()?));
    Job::run(format!("fleet-consumer {subcommand}"), &mut consumer, interrupt)
}
