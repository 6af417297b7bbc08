//! The two ways in which a wait can end in vain.

/// Why a wait ended without success.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted")]
    Interrupted,

    /// The deadline passed.
    #[error("waited {seconds} s in vain for {what}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
}
