//! The binaries under test.

use std::path::PathBuf;

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::job::Job;

/// The services, which have the failpoints, and the simulator, which judges the run.
const BINARIES: [&str; 3] = ["fleet-webhook-api", "fleet-consumer", "fleet-simulator"];

/// Builds them as they are shipped; the folder they are in.
pub(crate) fn released(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let mut command = cargo.command(&["build", "--release"]);
    command.args(BINARIES.map(|name| ["--package", name]).concat());
    Job::run("cargo build --release", &mut command, interrupt)?;
    Ok(cargo.bin_dir().with_file_name("release"))
}

/// Builds them for debugging and with failpoints; the folder they are in. They have a target folder of their own, so that
/// nothing else finds them, and so that cargo does not build the workspace again each time it changes sides.
pub(crate) fn with_failpoints(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let target = cargo.bin_dir().with_file_name("failpoints");
    let mut command = cargo.command(&["build"]);
    command.args(BINARIES.map(|name| ["--package", name]).concat());
    command.arg("--target-dir").arg(&target).env("FLEET_FAILPOINTS", "1");
    Job::run("cargo build with failpoints", &mut command, interrupt)?;
    Ok(target.join("debug"))
}
