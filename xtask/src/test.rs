//! `cargo xtask test` and `cargo xtask ci`.

use fleet_testbed::{DATABASE_URL_VARIABLE, REDIS_URL_VARIABLE, Services};

use crate::cargo::Cargo;
use crate::chaos;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::job::Job;

/// Where the tests find the binaries to start.
const BIN_DIR_VARIABLE: &str = "FLEET_TEST_BIN_DIR";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Handed to `cargo test`, as in `cargo xtask test -p fleet-queue -- --nocapture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

/// Where they find those a fault can be planted in.
const PLANTED_BIN_DIR_VARIABLE: &str = "FLEET_TEST_PLANTED_BIN_DIR";

/// Builds the binaries, starts the servers, runs the tests.
pub(crate) fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    let planted = if tests_chaos(&args.cargo_test) {
        Some(chaos::planted(cargo, interrupt)?)
    } else {
        build_bins(cargo, interrupt)?;
        None
    };
    let services = Services::start()?;
    let mut command = cargo.command(&["test"]);
    if !names_package(&args.cargo_test) {
        command.arg("--workspace");
    }
    command
        .args(&args.cargo_test)
        .env(REDIS_URL_VARIABLE, services.redis_url())
        .env(DATABASE_URL_VARIABLE, services.database_url())
        .env(BIN_DIR_VARIABLE, cargo.bin_dir())
        .envs(planted.map(|folder| (PLANTED_BIN_DIR_VARIABLE, folder)));
    Job::run("cargo test", &mut command, interrupt)
}

/// Formatting, clippy, tests.
pub(crate) fn ci(cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    Job::run("cargo fmt --check", &mut cargo.command(&["fmt", "--all", "--check"]), interrupt)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Job::run("cargo clippy", &mut cargo.command(&clippy), interrupt)?;
    run(&Args { cargo_test: Vec::new() }, cargo, interrupt)
}

/// Builds every binary of the workspace, with cargo's own progress on stderr.
pub(crate) fn build_bins(cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    Job::run("cargo build", &mut cargo.command(&["build", "--workspace", "--bins"]), interrupt)
}

/// Whether the chaos suite, a test of xtask, is among what is tested.
fn tests_chaos(arguments: &[String]) -> bool {
    !names_package(arguments) || arguments.iter().any(|argument| argument.ends_with("xtask"))
}

/// Whether cargo's own arguments choose packages.
fn names_package(arguments: &[String]) -> bool {
    let cargos = arguments.iter().take_while(|argument| *argument != "--");
    cargos.into_iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::names_package;

    #[test]
    fn only_cargos_own_arguments_choose_packages() {
        let names = |arguments: &[&str]| {
            names_package(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
        };
        assert!(names(&["-p", "fleet-queue"]));
        assert!(names(&["--package=fleet-queue"]));
        assert!(!names(&["some_test", "--", "-p"]));
    }
}
