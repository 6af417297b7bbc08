//! The ways in which a wait can fail.

/// Why a wait ended without success.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted")]
    Interrupted,

    /// The deadline passed.
    #[error("timed out after {seconds} s while waiting for {what}")]
    TimedOut {
        /// What the caller waited for.
        what: String,
        /// For how long.
        seconds: u64,
    },
}
