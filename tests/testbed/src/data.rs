//! One folder per server inside the root, gone with its owner.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::process::send;
use crate::root::{Account, Root};
use crate::{Error, proc};

/// Where the folders are, as the servers in the root see it.
const PARENT: &str = "/var/tmp/fleet-testbed";

/// Held locked by the owner: a folder whose lock can be had is a leftover, whatever became of its pid.
const LOCK: &str = "owner.lock";

/// A server's folder: its log, and a data folder that only the server's user may enter.
#[derive(Debug)]
pub(crate) struct DataFolder {
    host: PathBuf,
    inside: String,
    _lock: File,
}

impl DataFolder {
    /// Makes a fresh folder for `account`, after removing what dead processes left behind.
    pub(crate) fn create(root: &Root, account: Account) -> Result<Self, Error> {
        let parent = root.host_path(PARENT);
        fs::create_dir_all(&parent).map_err(Error::io(format!("create {}", parent.display())))?;
        // A folder exists for a moment before its owner has locked it; nobody may clean up then.
        let guard = lock_file(&parent.join("cleanup.lock"))?;
        guard.lock().map_err(Error::io(format!("lock {}", parent.display())))?;
        remove_leftovers(&parent);

        let name = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
        let host = parent.join(&name);
        fs::create_dir(&host).map_err(Error::io(format!("create {}", host.display())))?;
        let lock = lock_file(&host.join(LOCK))?;
        lock.lock().map_err(Error::io(format!("lock {}", host.display())))?;
        let folder = Self { host, inside: format!("{PARENT}/{name}"), _lock: lock };

        let data = folder.data_host();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&data)
            .map_err(Error::io(format!("create {}", data.display())))?;
        chown(&data, Some(account.uid), Some(account.gid))
            .map_err(Error::io(format!("hand {} to the server's user", data.display())))?;
        Ok(folder)
    }

    /// The data folder as the server sees it.
    pub(crate) fn data_inside(&self) -> String {
        format!("{}/data", self.inside)
    }

    /// The data folder as this process sees it.
    pub(crate) fn data_host(&self) -> PathBuf {
        self.host.join("data")
    }

    /// Writes a file for `account` alone into the data folder; servers refuse a key that others may read.
    pub(crate) fn write(&self, account: Account, name: &str, text: &str) -> Result<(), Error> {
        let path = self.data_host().join(name);
        let mut file = File::options();
        file.create(true).truncate(true).write(true).mode(0o600);
        file.open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| chown(&path, Some(account.uid), Some(account.gid)))
            .map_err(Error::io(format!("write {}", path.display())))
    }

    /// The server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.host.join("server.log")
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next start.
        drop(fs::remove_dir_all(&self.host));
    }
}

fn lock_file(path: &Path) -> Result<File, Error> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io(format!("open {}", path.display())))
}

/// Removes every folder whose owner is gone. A failure is not worth stopping for: the folder is only in the
/// way of disk space.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !folder.is_dir() {
            continue;
        }
        match File::options().write(true).open(folder.join(LOCK)).map(|lock| lock.try_lock()) {
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => {}
            // Without a lock file the owner died before it made one.
            Ok(Ok(())) | Err(_) => remove(&folder),
        }
    }
}

fn remove(folder: &Path) {
    // A server whose owner died while it was paused does not notice.
    let resolved = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    for pid in proc::working_in(&resolved) {
        let _ = send(pid, Signal::KILL);
    }
    drop(fs::remove_dir_all(folder));
}
