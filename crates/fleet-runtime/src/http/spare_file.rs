//! A reserved file descriptor: without any, a connection can be neither accepted nor closed.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file that always exists.
const NULL: &str = "/dev/null";

/// A file that is open only for its descriptor. The default has none. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SpareFile(Option<Arc<Mutex<Option<File>>>>);

impl SpareFile {
    pub(super) fn open() -> Self {
        Self(Some(Arc::new(Mutex::new(File::open(NULL).ok()))))
    }

    /// Closes the file, so that its descriptor can be used at once. Returns `false` if there is none.
    pub(super) fn give_up(&self) -> bool {
        self.lock().is_some_and(|mut file| file.take().is_some())
    }

    /// Reserves a descriptor again, if one is free.
    pub(super) fn renew(&self) {
        if let Some(mut file) = self.lock().filter(|file| file.is_none()) {
            *file = File::open(NULL).ok();
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Option<File>>> {
        // Any state is valid after a panic: there is a file or there is none.
        self.0.as_ref().map(|file| file.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
