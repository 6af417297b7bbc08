//! The limit of open files, which bounds the connections.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why this process may not open as many files as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFilesError {
    /// The hard limit is too low. Only a privileged user can raise it.
    #[error("the hard limit of open files is {hard}, and {needed} are needed")]
    HardLimit {
        /// The limit.
        hard: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The system refused.
    #[error("the limit of open files cannot be raised to {needed}: {errno}")]
    Refused {
        /// How many are needed.
        needed: u64,
        /// Why.
        errno: Errno,
    },
}

/// Raises the soft limit of open files to what is needed, if it is lower. The usual soft limit of 1024 is for programs that
/// call `select`.
///
/// # Errors
///
/// [`OpenFilesError`] if the hard limit is too low.
pub fn allow_open_files(needed: u64) -> Result<(), OpenFilesError> {
    // `None` means no limit.
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    if let Some(hard) = maximum.filter(|hard| *hard < needed) {
        return Err(OpenFilesError::HardLimit { hard, needed });
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    raised.map_err(|errno| OpenFilesError::Refused { needed, errno })
}
