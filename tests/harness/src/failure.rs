//! Why a command failed, and the exit status that says so.

use std::io;
use std::process::{ExitCode, ExitStatus};

use crate::WaitError;

/// The exit status after SIGINT or SIGTERM, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The servers.
    #[error(transparent)]
    Testbed(#[from] fleet_testbed::Error),

    /// A command that this one started.
    #[error("{what} failed ({status})")]
    Exit {
        /// Which one.
        what: String,
        /// How it ended.
        status: ExitStatus,
    },

    /// The machine.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// The operating system's error.
        source: io::Error,
    },

    /// A program under test did not do what it must.
    #[error("{0}")]
    Program(String),

    /// A run ended, and what it showed is not what it must show.
    #[error("{run} failed: {why}")]
    Verdict {
        /// Which run.
        run: &'static str,
        /// What is wrong.
        why: String,
    },

    /// A signal, or a deadline.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl Failure {
    /// For `map_err`: an I/O failure that says what was tried.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Whether SIGINT or SIGTERM ended the command.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Wait(WaitError::Interrupted))
    }

    /// The failed command's own status if there is one, 130 after SIGINT or SIGTERM, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Exit { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                code.map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::Wait(WaitError::Interrupted) => ExitCode::from(INTERRUPTED),
            Self::Wait(WaitError::TimedOut { .. })
            | Self::Testbed(_)
            | Self::Io { .. }
            | Self::Program(_)
            | Self::Verdict { .. } => ExitCode::FAILURE,
        }
    }
}
