//! Builds the workspace's programs.

use std::fs;
use std::path::PathBuf;

use crate::cargo::FAILPOINTS;
use crate::{Cargo, Failure, Interrupt, Job};

/// The programs of a run, also of one with failpoints: the services and the simulator.
const PROGRAMS: [&str; 5] =
    ["fleet-webhook-api", "fleet-amqp-bridge", "fleet-consumer", "fleet-query-api", "fleet-simulator"];

/// Builds every program of the workspace in debug mode. Cargo prints its progress on stderr.
///
/// # Errors
///
/// [`Failure::Exit`] if the build fails.
pub fn debug(cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    Job::run("cargo build", &mut cargo.command(&["build", "--workspace", "--bins"]), interrupt)
}

/// Builds the same programs in release mode, as shipped, and returns their folder.
///
/// # Errors
///
/// [`Failure::Exit`] if the build fails.
pub fn release(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let mut command = cargo.command(&["build", "--release"]);
    command.args(PROGRAMS.map(|name| ["--package", name]).concat());
    Job::run("cargo build --release", &mut command, interrupt)?;
    Ok(cargo.bin_dir().with_file_name("release"))
}

/// Builds the programs with failpoints in debug mode and returns their folder, which contains nothing else.
///
/// # Errors
///
/// [`Failure::Exit`] if the build fails, [`Failure::Io`] if the programs cannot be copied.
pub fn with_failpoints(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let mut command = cargo.command(&["build", "--workspace", "--bins"]);
    command.env(FAILPOINTS, "1");
    Job::run("cargo build with failpoints", &mut command, interrupt)?;
    let folder = cargo.bin_dir().with_file_name("failpoints");
    let copied = fs::create_dir_all(&folder).and_then(|()| {
        PROGRAMS.iter().try_for_each(|name| {
            // Copied, because the next build overwrites the program in cargo's folder.
            fs::copy(cargo.bin_dir().join(name), folder.join(name)).map(drop)
        })
    });
    copied.map_err(Failure::io(format!("copy the programs to {}", folder.display())))?;
    // Everything else starts programs from cargo's folder, so those must be without failpoints again.
    debug(cargo, interrupt)?;
    Ok(folder)
}
