//! Creates a folder of the cache once, even if several processes need it at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Progress};

/// A file inside the folder that is written last. Without it the folder is incomplete.
const MARKER: &str = "fleet-testbed.complete";

/// A folder of the cache.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) cache: &'a Path,
    pub(super) name: &'static str,
    /// The content of the marker. If it has changed, the folder is created again.
    pub(super) content: &'a str,
}

impl Folder<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.cache.join(self.name)
    }

    pub(super) fn is_complete(&self) -> bool {
        let said = fs::read_to_string(self.path().join(MARKER));
        said.is_ok_and(|said| said.trim() == self.content.trim())
    }
}

/// Returns the complete folder. `make` gets the path of another folder, which does not exist yet and is
/// renamed at the end, so that no process sees an incomplete folder.
pub(super) fn once(
    folder: &Folder<'_>,
    progress: &Progress,
    make: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let path = folder.path();
    if folder.is_complete() {
        return Ok(path);
    }
    let cache = folder.cache;
    fs::create_dir_all(cache).map_err(Error::io(format!("create {}", cache.display())))?;
    let lock_path = cache.join("build.lock");
    let doing = || format!("lock {}", lock_path.display());
    let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(Error::io(doing()))?;
    if lock.try_lock().is_err() {
        progress.say("waiting for another process that is filling the cache folder");
        lock.lock().map_err(Error::io(doing()))?;
    }
    // Another process may have created it while this one waited.
    if folder.is_complete() {
        return Ok(path);
    }
    let unfinished = cache.join(format!("{}.unfinished", folder.name));
    for leftover in [&unfinished, &path] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(Error::io(format!("remove {}", leftover.display())))?;
        }
    }
    if let Err(error) = make(&unfinished) {
        // An incomplete folder is useless and large.
        drop(fs::remove_dir_all(&unfinished));
        return Err(error);
    }
    let marker = unfinished.join(MARKER);
    fs::write(&marker, folder.content).map_err(Error::io(format!("write {}", marker.display())))?;
    fs::rename(&unfinished, &path).map_err(Error::io(format!("rename {}", unfinished.display())))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Folder, once};
    use crate::{Error, Progress};

    #[test]
    fn a_folder_is_made_once_and_again_when_its_content_changes() {
        let cache = std::env::temp_dir().join(format!("fleet-testbed-once-{}", std::process::id()));
        let make = |content: &str| {
            let mut made = false;
            let folder = Folder { cache: &cache, name: "thing", content };
            let path = once(&folder, &Progress::silent(), |unfinished| {
                made = true;
                std::fs::create_dir(unfinished).map_err(Error::io("create it"))
            });
            assert!(path.unwrap().is_dir());
            made
        };
        assert_eq!([make("a"), make("a"), make("b"), make("b")], [true, false, true, false]);
        let failing = Folder { cache: &cache, name: "other", content: "a" };
        let failed = once(&failing, &Progress::silent(), |unfinished| {
            std::fs::create_dir(unfinished).map_err(Error::io("create it"))?;
            Err(Error::NoTools { missing: "everything".to_owned() })
        });
        assert!(failed.is_err() && !failing.is_complete());
        assert!(!cache.join("other.unfinished").exists(), "nothing is left of it");
        std::fs::remove_dir_all(&cache).unwrap();
    }
}
