//! The limit of open files, which bounds connections.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why a process may not open as many files as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFilesError {
    /// Only a privileged user raises the hard limit.
    #[error("the hard limit of open files is {hard}, and {needed} are needed")]
    HardLimit {
        /// The limit.
        hard: u64,
        /// What is needed.
        needed: u64,
    },
    /// The system refuses.
    #[error("the limit of open files cannot be raised to {needed}: {errno}")]
    Refused {
        /// What is needed.
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
    // Absent is without a limit.
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
