//! The reasons why a command fails, and their exit statuses.

use std::io;
use std::process::{ExitCode, ExitStatus};

use crate::WaitError;

/// The exit status after SIGINT or SIGTERM, as in shells.
const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The servers could not be started or used.
    #[error(transparent)]
    Testbed(#[from] fleet_testbed::Error),

    /// A child process failed.
    #[error("{what} failed ({status})")]
    Exit {
        /// Which command it ran.
        what: String,
        /// Its exit status.
        status: ExitStatus,
    },

    /// An operation of the operating system failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// The operating system's error.
        source: io::Error,
    },

    /// A program under test misbehaved.
    #[error("{0}")]
    Program(String),

    /// A run ended without meeting its requirements.
    #[error("{run} failed: {why}")]
    Verdict {
        /// Which run it was.
        run: &'static str,
        /// What is wrong.
        why: String,
    },

    /// A signal arrived, or a deadline passed.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl Failure {
    /// For `map_err`: an I/O failure with what was attempted.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Whether SIGINT or SIGTERM ended the command.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Wait(WaitError::Interrupted))
    }

    /// The exit status of the failed child process if there is one, 130 after SIGINT or SIGTERM, otherwise 1.
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
