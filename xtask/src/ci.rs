//! `cargo xtask ci`.

use crate::test;
use fleet_harness::Cargo;
use fleet_harness::Failure;
use fleet_harness::Interrupt;
use fleet_harness::Job;

/// Checks the formatting, runs clippy and runs every test, including the checks of `deploy/k8s`.
pub(crate) fn run(cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    Job::run("cargo fmt --check", &mut cargo.command(&["fmt", "--all", "--check"]), interrupt)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Job::run("cargo clippy", &mut cargo.command(&clippy), interrupt)?;
    test::run(&test::Args::everything(), cargo, interrupt)
}
