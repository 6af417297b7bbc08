//! The programs that check the files in `deploy/k8s`: kubectl, promtool, kubernetes-validate, yamllint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::build::{self, Recipe};
use super::{cache, python};
use crate::{Error, Progress};

/// Only extracts files. Nothing runs as root, and nothing runs inside a chroot, which could not see the
/// manifests.
const RECIPE: Recipe = Recipe {
    name: "trixie-tools-1",
    suite: "trixie",
    variant: "extract",
    packages: "kubernetes-client,prometheus",
    // The server and the documentation, half of the size.
    left_out: &["usr/bin/prometheus", "usr/share", "var"],
    announcement: "downloading kubectl and promtool from Debian (once; about 15 s and 180 MB)",
};

/// Where kubectl and promtool are.
#[derive(Debug)]
enum Programs {
    /// In the private root, together with the C library that they need.
    Root { bin: PathBuf, loader: PathBuf, libraries: PathBuf },
    /// On the search path, on systems where no root can be created.
    SearchPath,
}

/// The programs that check manifests and alert rules. They need no cluster, and no network once they are
/// downloaded.
#[derive(Debug)]
pub struct Tools {
    programs: Programs,
    python: PathBuf,
}

impl Tools {
    /// The tools in the user's cache folder. Downloads them if they are missing (half a minute, 330 MB).
    /// Users other than root need kubectl and promtool on the search path.
    ///
    /// # Errors
    ///
    /// [`Error::NoTools`] if they can neither be found nor downloaded.
    pub fn ensure(progress: &Progress) -> Result<Self, Error> {
        let cache = cache::folder(|name| std::env::var(name).ok()).map_err(as_no_tools)?;
        let programs = programs(&cache, progress).map_err(as_no_tools)?;
        Ok(Self { programs, python: python::ensure(&python::MANIFESTS, &cache, progress)? })
    }

    /// The command `kubectl`, 1.27 or newer, without arguments.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.program("kubectl")
    }

    /// The command `promtool`, without arguments.
    #[must_use]
    pub fn promtool(&self) -> Command {
        self.program("promtool")
    }

    /// The command `kubernetes-validate`, without arguments. It includes its schemas.
    #[must_use]
    pub fn kubernetes_validate(&self) -> Command {
        self.module("kubernetes_validate")
    }

    /// The command `yamllint`, without arguments.
    #[must_use]
    pub fn yamllint(&self) -> Command {
        self.module("yamllint")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = match &self.programs {
            Programs::Root { bin, loader, libraries } => {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(libraries).arg(bin.join(name));
                command
            }
            Programs::SearchPath => Command::new(name),
        };
        command.stdin(Stdio::null());
        command
    }

    fn module(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", name]).stdin(Stdio::null());
        command
    }
}

/// The command `schemathesis`, without arguments. It tests a service against its OpenAPI document.
///
/// # Errors
///
/// [`Error::NoTools`] if it is neither in the user's cache folder nor can be installed from PyPI.
pub fn schemathesis(progress: &Progress) -> Result<Command, Error> {
    let cache = cache::folder(|name| std::env::var(name).ok()).map_err(as_no_tools)?;
    let mut command = Command::new(python::ensure(&python::SCHEMATHESIS, &cache, progress)?);
    command.args(["-m", "schemathesis.cli"]).stdin(Stdio::null());
    Ok(command)
}

fn programs(cache: &Path, progress: &Progress) -> Result<Programs, Error> {
    if !build::exists(cache, &RECIPE)
        && let Err(error) = build::require_supported_system()
    {
        let found = ["kubectl", "promtool"].into_iter().all(build::on_path);
        return if found { Ok(Programs::SearchPath) } else { Err(error) };
    }
    let root = build::ensure(cache, &RECIPE, progress)?;
    let libraries = entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
    let loader = entry(&libraries, |name| name.starts_with("ld-linux"))?;
    Ok(Programs::Root { bin: root.join("usr/bin"), loader, libraries })
}

/// The only entry of `folder` whose name is `wanted`. The name depends on the processor.
fn entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io(format!("read {}", folder.display())))?;
    let mut entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = entries.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted));
    found.ok_or_else(|| Error::NoTools {
        missing: format!("{} has no C library; delete the folder above it", folder.display()),
    })
}

/// The tools fail for the same reasons as the root of the servers, but the advice differs.
fn as_no_tools(error: Error) -> Error {
    match error {
        Error::NoRoot { missing } => Error::NoTools { missing },
        other @ (Error::OneUrlOnly { .. }
        | Error::NoTools { .. }
        | Error::NoBrowser { .. }
        | Error::Start { .. }
        | Error::Control { .. }
        | Error::Certificate(_)
        | Error::Io { .. }) => other,
    }
}
