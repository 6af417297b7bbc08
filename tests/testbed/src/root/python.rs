//! The checks that are written in Python, in their own virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{apt_get_install, on_path, run};
use super::once::{Folder, once};
use crate::{Error, Progress};

/// Every package with its version, including dependencies.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Change the folder's name only if something other than the requirements changes.
const NAME: &str = "python-tools-1";

/// The interpreter of the virtual environment in `cache`. Creates the environment if it does not exist.
pub(super) fn ensure(cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let folder = Folder { cache, name: NAME, content: REQUIREMENTS };
    let made = once(&folder, progress, |unfinished| {
        progress.say("installing kubernetes-validate and yamllint from PyPI (once; about 15 s and 150 MB)");
        create(unfinished, progress).and_then(|()| install(unfinished, progress)).map_err(|failure| {
            Error::NoTools { missing: format!("kubernetes-validate and yamllint: {failure}") }
        })
    })?;
    Ok(interpreter(&made))
}

/// The interpreter. Programs in `bin` contain the path that they were installed to and break when the folder
/// is renamed; the interpreter does not.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

fn create(environment: &Path, progress: &Progress) -> Result<(), String> {
    let create = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(environment);
        run(command, progress)
    };
    create().or_else(|failure| {
        // Debian has the module in a separate package.
        if !on_path("apt-get") || !rustix::process::geteuid().is_root() {
            return Err(format!("{failure}\ninstall Python 3.10 or newer with its venv module"));
        }
        apt_get_install(&["python3-venv"], progress)?;
        create()
    })
}

fn install(environment: &Path, progress: &Progress) -> Result<(), String> {
    let requirements = environment.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)
        .map_err(|error| format!("cannot write {}: {error}", requirements.display()))?;
    let mut command = Command::new(interpreter(environment));
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--no-deps", "--only-binary=:all:", "--requirement"]).arg(&requirements);
    run(command, progress).map_err(|failure| format!("is PyPI reachable?\n{failure}"))
}
