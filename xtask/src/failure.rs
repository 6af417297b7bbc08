//! Why a command failed, and the exit code that says so.

use std::io;
use std::process::{ExitCode, ExitStatus};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Testbed(#[from] fleet_testbed::Error),

    #[error("{what} failed ({status})")]
    Exit { what: String, status: ExitStatus },

    #[error("{name} ended although it should serve ({status})\n--- the end of its log ---\n{log_tail}")]
    Died { name: &'static str, status: ExitStatus, log_tail: String },

    #[error("{name} was not ready after {seconds} s\n--- the end of its log ---\n{log_tail}")]
    NotReady { name: &'static str, seconds: u64, log_tail: String },

    #[error("{name} still ran {seconds} s after SIGTERM\n--- the end of its log ---\n{log_tail}")]
    NotStopped { name: &'static str, seconds: u64, log_tail: String },

    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },

    /// A process did not behave.
    #[error("{0}")]
    Process(String),

    #[error("the rehearsal failed: {0}")]
    Rehearsal(String),

    #[error("the system did not survive its faults: {0}")]
    Chaos(String),

    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// For `map_err`: an I/O failure that says what was tried.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The failed command's own code where there is one, 130 after Ctrl-C, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Exit { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                code.map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::Interrupted => ExitCode::from(130),
            Self::Testbed(_)
            | Self::Died { .. }
            | Self::NotReady { .. }
            | Self::NotStopped { .. }
            | Self::Io { .. }
            | Self::Process(_)
            | Self::Rehearsal(_)
            | Self::Chaos(_) => ExitCode::FAILURE,
        }
    }
}
