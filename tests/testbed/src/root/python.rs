//! The checks that are written in Python, in a virtual environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{apt_get_install, on_path, run};
use super::once::{Folder, once};
use crate::{Error, Progress};

/// Every package with its version, those that the two need included.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A new folder name is needed only when something else than the requirements changes.
const NAME: &str = "python-tools-1";

/// The interpreter of the virtual environment in `cache`, made now if it is not there.
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

/// Programs in `bin` name the folder they were made in; the interpreter does not, and so survives the renaming.
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
        // Debian keeps the module in a package of its own.
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
