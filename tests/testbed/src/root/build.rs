//! Creates a root with mmdebstrap.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::once::{Folder, once};
use crate::{Error, Progress};

/// How to create a root.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The root's folder name. Changing a recipe requires a new name, because another checkout may use the
    /// old root.
    pub(super) name: &'static str,
    /// Debian's release.
    pub(super) suite: &'static str,
    /// The variant of mmdebstrap: `minbase` to run programs inside with chroot, `extract` for the files only.
    pub(super) variant: &'static str,
    /// The Debian packages, separated by commas.
    pub(super) packages: &'static str,
    /// Paths to remove at the end, relative to the root.
    pub(super) left_out: &'static [&'static str],
    /// The progress message.
    pub(super) announcement: &'static str,
}

/// The number of output lines of a failed command in an error.
const TAIL_LINES: usize = 15;

/// Fails early, before any download, on a system that is not supported.
pub(super) fn require_supported_system() -> Result<(), Error> {
    if !cfg!(target_os = "linux") {
        return Err(no_root(format!("it needs Linux, this is {}.", std::env::consts::OS)));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(no_root("it needs root (for chroot), and this user is not root.".to_owned()));
    }
    Ok(())
}

/// The folder of the complete root in `cache`. Creates it if it does not exist.
pub(super) fn ensure(cache: &Path, recipe: &Recipe, progress: &Progress) -> Result<PathBuf, Error> {
    let folder = Folder { cache, name: recipe.name, content: recipe.packages };
    once(&folder, progress, |unfinished| debootstrap(unfinished, recipe, progress))
}

/// Whether the root exists.
pub(super) fn exists(cache: &Path, recipe: &Recipe) -> bool {
    Folder { cache, name: recipe.name, content: recipe.packages }.is_complete()
}

fn debootstrap(unfinished: &Path, recipe: &Recipe, progress: &Progress) -> Result<(), Error> {
    require_mmdebstrap(progress)?;
    progress.say(recipe.announcement);
    let mut command = Command::new("mmdebstrap");
    let variant = format!("--variant={}", recipe.variant);
    command.args([&variant, &format!("--include={}", recipe.packages), recipe.suite]).arg(unfinished);
    run(command, progress)
        .map_err(|failure| no_root(format!("mmdebstrap failed (is deb.debian.org reachable?)\n{failure}")))?;
    for path in recipe.left_out {
        let path = unfinished.join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io(format!("remove {}", path.display())))?;
    }
    Ok(())
}

/// Installs mmdebstrap if it is missing, and on Ubuntu also Debian's signing keys.
fn require_mmdebstrap(progress: &Progress) -> Result<(), Error> {
    let keys = ["gpg", "pgp"].map(|end| format!("/usr/share/keyrings/debian-archive-keyring.{end}"));
    if on_path("mmdebstrap") && keys.iter().any(|key| Path::new(key).exists()) {
        return Ok(());
    }
    if !on_path("apt-get") {
        return Err(no_root(
            "it needs mmdebstrap and Debian's signing keys, and there is no apt-get to install them with."
                .to_owned(),
        ));
    }
    apt_get_install(&["mmdebstrap", "debian-archive-keyring"], progress).map_err(no_root)
}

/// Installs packages of this system. Returns what failed.
pub(crate) fn apt_get_install(packages: &[&str], progress: &Progress) -> Result<(), String> {
    progress.say(&format!("installing {}", packages.join(", ")));
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    for arguments in [&["update"][..], &install[..]] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(command, progress).map_err(|failure| {
            let packages = packages.join(" and ");
            format!("apt-get could not install {packages} (is the network reachable?)\n{failure}")
        })?;
    }
    Ok(())
}

/// Runs a command and shows each line of its stderr as progress. Returns the last lines if it fails.
pub(super) fn run(mut command: Command, progress: &Progress) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot run {name}: {error}"))?;
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')) {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        progress.say(&format!("{name}: {line}"));
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}\n({name}: {status})", Vec::from(tail).join("\n"))),
        Err(error) => Err(format!("cannot wait for {name}: {error}")),
    }
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn no_root(missing: String) -> Error {
    Error::NoRoot { missing }
}
