//! The binaries under test.

use std::fs;
use std::path::PathBuf;

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::test::build_bins;

/// What a fault can be planted in, and who judges it.
const BINARIES: [&str; 3] = ["fleet-webhook-api", "fleet-consumer", "fleet-simulator"];

/// Builds them as they are shipped; the folder they are in.
pub(crate) fn released(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let mut command = cargo.command(&["build", "--release"]);
    command.args(BINARIES.map(|name| ["--package", name]).concat());
    Job::run("cargo build --release", &mut command, interrupt)?;
    Ok(cargo.bin_dir().with_file_name("release"))
}

/// Builds them such that a fault can be switched on, for debugging; the folder they are in, where nothing else is.
pub(crate) fn planted(cargo: &Cargo, interrupt: &Interrupt) -> Result<PathBuf, Failure> {
    let mut command =
        cargo.command(&["build", "--workspace", "--bins", "--features", "fleet-failpoints/faults"]);
    Job::run("cargo build with planted faults", &mut command, interrupt)?;
    let folder = cargo.bin_dir().with_file_name("planted");
    let copied = fs::create_dir_all(&folder).and_then(|()| {
        BINARIES.iter().try_for_each(|name| {
            let (from, to) = (cargo.bin_dir().join(name), folder.join(name));
            // A file of its own: cargo overwrites the other one.
            fs::copy(from, to).map(drop)
        })
    });
    copied.map_err(Failure::io(format!("copy the binaries to {}", folder.display())))?;
    // Nothing else must find the faulty ones where it looks for the right ones.
    build_bins(cargo, interrupt)?;
    Ok(folder)
}
