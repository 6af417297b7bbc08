//! A file descriptor that is kept back: without any, a connection can neither be accepted nor closed.

use std::fs::File;

/// Any file that is always there.
const NULL: &str = "/dev/null";

/// A file that is open for nothing but its descriptor. None is kept by default.
#[derive(Debug, Default)]
pub(super) struct SpareFile {
    file: Option<File>,
    is_kept: bool,
}

impl SpareFile {
    pub(super) fn open() -> Self {
        Self { file: File::open(NULL).ok(), is_kept: true }
    }

    /// Closes the file, so that its descriptor can be used at once. `false`: there is none.
    pub(super) fn give_up(&mut self) -> bool {
        self.file.take().is_some()
    }

    /// Keeps a descriptor back again, if there is one.
    pub(super) fn renew(&mut self) {
        if self.is_kept && self.file.is_none() {
            self.file = File::open(NULL).ok();
        }
    }
}
