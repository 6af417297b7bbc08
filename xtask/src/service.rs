//! How the workspace's binaries are run.

use std::io;
use std::path::Path;
use std::process::Command;

use fleet_testbed::free_port;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::job::Job;

/// A binary with none of the user's own configuration: a run is to be the same everywhere. Only the log filter may be
/// chosen; `log` is the default.
pub(crate) fn command(bin_dir: &Path, binary: &str, log: &str) -> Command {
    let mut command = Command::new(bin_dir.join(binary));
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

/// Runs a subcommand of this consumer, beside the consumers that run: it must succeed. Its output goes to stderr.
pub(crate) fn consumer_subcommand(
    mut consumer: Command,
    subcommand: &str,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    consumer.arg(subcommand).stdout(io::stderr());
    consumer.env("FLEET_ADMIN__LISTEN", format!("127.0.0.1:{}", free_port()?));
    Job::run(format!("fleet-consumer {subcommand}"), &mut consumer, interrupt)
}
