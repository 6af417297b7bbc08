//! A file descriptor that is kept back: without any, a connection can neither be accepted nor closed.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Any file that is always there.
const NULL: &str = "/dev/null";

/// A file that is open for nothing but its descriptor. None is kept by default. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SpareFile(Option<Arc<Mutex<Option<File>>>>);

impl SpareFile {
    pub(super) fn open() -> Self {
        Self(Some(Arc::new(Mutex::new(File::open(NULL).ok()))))
    }

    /// Closes the file, so that its descriptor can be used at once. `false`: there is none.
    pub(super) fn give_up(&self) -> bool {
        self.lock().is_some_and(|mut file| file.take().is_some())
    }

    /// Keeps a descriptor back again, if there is one.
    pub(super) fn renew(&self) {
        if let Some(mut file) = self.lock().filter(|file| file.is_none()) {
            *file = File::open(NULL).ok();
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Option<File>>> {
        // Whoever panicked has left a file or none.
        self.0.as_ref().map(|file| file.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
