//! Makes the root with mmdebstrap, once.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, Progress};

/// The root's folder name. A new recipe needs a new name: another checkout may be running the old one.
const NAME: &str = "trixie-1";

/// What the root contains.
const PACKAGES: &str = "postgresql-17-timescaledb,redis-server";

/// Written last, inside the root: without it the root is not complete.
const MARKER: &str = "fleet-testbed.complete";

/// How many lines of a failed command an error shows.
const TAIL_LINES: usize = 15;

/// Refuses what can never work here, before anything is downloaded.
pub(super) fn require_supported_system() -> Result<(), Error> {
    if !cfg!(target_os = "linux") {
        return Err(no_root(format!("it needs Linux, this is {}.", std::env::consts::OS)));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(no_root("it needs root (for chroot), and this user is not root.".to_owned()));
    }
    Ok(())
}

/// The complete root's folder in `cache`.
pub(super) fn ensure(cache: &Path, progress: &Progress) -> Result<PathBuf, Error> {
    let root = cache.join(NAME);
    if is_complete(&root) {
        return Ok(root);
    }
    fs::create_dir_all(cache).map_err(Error::io(format!("create {}", cache.display())))?;
    let lock_path = cache.join("build.lock");
    let doing = || format!("lock {}", lock_path.display());
    let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(Error::io(doing()))?;
    if lock.try_lock().is_err() {
        progress.say("waiting for another process that is making the private Debian root");
        lock.lock().map_err(Error::io(doing()))?;
    }
    // Another process may have made it while this one waited.
    if !is_complete(&root) {
        build(cache, &root, progress)?;
    }
    Ok(root)
}

fn is_complete(root: &Path) -> bool {
    fs::read_to_string(root.join(MARKER)).is_ok_and(|recipe| recipe.trim() == PACKAGES)
}

/// Makes the root under another name and renames it, so that nobody sees half of one.
fn build(cache: &Path, root: &Path, progress: &Progress) -> Result<(), Error> {
    require_mmdebstrap(progress)?;
    let unfinished = cache.join(format!("{NAME}.unfinished"));
    for leftover in [&unfinished, root] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(Error::io(format!("remove {}", leftover.display())))?;
        }
    }
    progress.say("making a private Debian root with Redis and TimescaleDB (once; about 20 s and 540 MB)");
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), "trixie"]).arg(&unfinished);
    if let Err(failure) = run(command, progress) {
        // Half a root is of no use to anybody, and large.
        drop(fs::remove_dir_all(&unfinished));
        return Err(no_root(format!("mmdebstrap failed (is deb.debian.org reachable?)\n{failure}")));
    }
    let marker = unfinished.join(MARKER);
    fs::write(&marker, PACKAGES).map_err(Error::io(format!("write {}", marker.display())))?;
    fs::rename(&unfinished, root).map_err(Error::io(format!("rename {}", unfinished.display())))
}

/// Installs mmdebstrap, and on Ubuntu Debian's signing keys, if they are missing.
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
    progress.say("installing mmdebstrap");
    let install = ["install", "-y", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring"];
    for arguments in [&["update"][..], &install[..]] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(command, progress).map_err(|failure| {
            no_root(format!("apt-get could not install mmdebstrap (is the network reachable?)\n{failure}"))
        })?;
    }
    Ok(())
}

/// Runs a command, shows each line of its stderr as progress, and returns the last ones if it fails.
fn run(mut command: Command, progress: &Progress) -> Result<(), String> {
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

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn no_root(missing: String) -> Error {
    Error::NoRoot { missing }
}
