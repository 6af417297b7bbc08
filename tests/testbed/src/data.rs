//! The data folder of a server. It is removed with its owner.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::process::send;
use crate::root::{Account, Root};
use crate::{Error, proc};

/// The parent of the folders, as a path inside the root.
const PARENT: &str = "/var/tmp/fleet-testbed";

/// The owner holds a lock on this file. A folder whose lock is free is a leftover, even if its pid is in use
/// again.
const LOCK: &str = "owner.lock";

/// A server's folder. It contains the log, and a data folder that only the server's user may enter.
#[derive(Debug)]
pub(crate) struct DataFolder {
    host: PathBuf,
    inside: String,
    _lock: File,
}

impl DataFolder {
    /// Creates a new folder for `account`, after removing the leftovers of dead owners.
    pub(crate) fn create(root: &Root, account: Account) -> Result<Self, Error> {
        let parent = root.host_path(PARENT);
        fs::create_dir_all(&parent).map_err(Error::io(format!("create {}", parent.display())))?;
        // A new folder is unlocked for a moment. This lock keeps other processes from removing it meanwhile.
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
            .map_err(Error::io(format!("change the owner of {} to the server's user", data.display())))?;
        Ok(folder)
    }

    /// The data folder as a path inside the root.
    pub(crate) fn data_inside(&self) -> String {
        format!("{}/data", self.inside)
    }

    /// The data folder as a path outside of the root.
    pub(crate) fn data_host(&self) -> PathBuf {
        self.host.join("data")
    }

    /// Writes a file that only `account` may read into the data folder. Servers refuse a key that others may
    /// read.
    pub(crate) fn write(&self, account: Account, name: &str, text: &str) -> Result<(), Error> {
        let path = self.data_host().join(name);
        let mut file = File::options();
        file.create(true).truncate(true).write(true).mode(0o600);
        file.open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| chown(&path, Some(account.uid), Some(account.gid)))
            .map_err(Error::io(format!("write {}", path.display())))
    }

    /// Deletes the data folder. The log remains.
    pub(crate) fn delete_data(&self) -> Result<(), Error> {
        let data = self.data_host();
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("delete {}", data.display()))(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.host.join("server.log")
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // If removing fails, the next start removes the folder.
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

/// Removes every folder whose owner has ended. Ignores failures, because a leftover only wastes disk space.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !folder.is_dir() {
            continue;
        }
        match File::options().write(true).open(folder.join(LOCK)).map(|lock| lock.try_lock()) {
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => {}
            // The owner died before it created the lock file.
            Ok(Ok(())) | Err(_) => remove(&folder),
        }
    }
}

fn remove(folder: &Path) {
    // A paused server keeps running when its owner dies, so it must be killed here.
    let resolved = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    for pid in proc::working_in(&resolved) {
        let _ = send(pid, Signal::KILL);
    }
    drop(fs::remove_dir_all(folder));
}
