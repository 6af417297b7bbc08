//! The checks that are written in Python, in their own virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{apt_get_install, on_path, run};
use super::once::{Folder, once};
use crate::{Error, Progress};

/// Packages in a virtual environment of their own.
pub(super) struct Packages {
    /// Change the folder's name only if something other than the requirements changes.
    name: &'static str,
    /// Every package with its version, including dependencies.
    requirements: &'static str,
    /// What they are for a person who waits or misses them.
    what: &'static str,
    size: &'static str,
}

/// kubernetes-validate and yamllint.
pub(super) const MANIFESTS: Packages = Packages {
    name: "python-tools-1",
    requirements: include_str!("requirements.txt"),
    what: "kubernetes-validate and yamllint",
    size: "about 15 s and 150 MB",
};

/// Schemathesis.
pub(super) const SCHEMATHESIS: Packages = Packages {
    name: "python-schemathesis-1",
    requirements: include_str!("schemathesis.txt"),
    what: "Schemathesis",
    size: "about 15 s and 100 MB",
};

/// The interpreter of the virtual environment in `cache`. Creates the environment if it does not exist.
pub(super) fn ensure(packages: &Packages, cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let Packages { name, requirements, what, size } = packages;
    let folder = Folder { cache, name, content: requirements };
    let made = once(&folder, progress, |unfinished| {
        progress.say(&format!("installing {what} from PyPI (once; {size})"));
        create(unfinished, progress)
            .and_then(|()| install(requirements, unfinished, progress))
            .map_err(|failure| Error::NoTools { missing: format!("{what}: {failure}") })
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

fn install(content: &str, environment: &Path, progress: &Progress) -> Result<(), String> {
    let requirements = environment.join("requirements.txt");
    std::fs::write(&requirements, content)
        .map_err(|error| format!("cannot write {}: {error}", requirements.display()))?;
    let mut command = Command::new(interpreter(environment));
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--no-deps", "--only-binary=:all:", "--requirement"]).arg(&requirements);
    run(command, progress).map_err(|failure| format!("is PyPI reachable?\n{failure}"))
}
