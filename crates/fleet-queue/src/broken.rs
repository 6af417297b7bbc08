//! Keys of a queue that another program has overwritten.

use std::fmt;

use crate::error_kind::ErrorKind;

/// One key of a queue that another program has overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokenKey {
    /// It has the wrong type.
    Type {
        /// The key.
        key: String,
        /// The type it must have, as Redis' TYPE names it.
        expected: &'static str,
        /// The type it has; absent if the user may not ask for it.
        found: Option<String>,
    },
    /// It contains impossible counters.
    Counters {
        /// The key.
        key: String,
        /// What is wrong with them.
        why: String,
    },
}

impl BrokenKey {
    /// The kind of an error about it, as [`QueueError::kind`](crate::QueueError::kind) returns it.
    pub fn kind(&self) -> &'static str {
        self.error_kind().into()
    }

    pub(crate) fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Type { .. } => ErrorKind::WrongType,
            Self::Counters { .. } => ErrorKind::Corrupt,
        }
    }

    /// Whether it is the queue's ledger.
    pub(crate) fn is_ledger(&self) -> bool {
        self.key().ends_with(":ledger")
    }

    /// Whether it was still broken when its type was read again.
    pub(crate) fn is_still_broken(&self) -> bool {
        match self {
            Self::Type { expected, found, .. } => {
                found.as_deref().is_none_or(|found| found != *expected && found != "none")
            }
            Self::Counters { .. } => true,
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Type { key, .. } | Self::Counters { key, .. } => key,
        }
    }
}

impl fmt::Display for BrokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { key, expected, found } => {
                let found = found.as_deref().unwrap_or("something else");
                write!(
                    formatter,
                    "the key {key} must be of the type {expected} and is {found}; see the runbook, \"A key of the wrong \
                     type\""
                )
            }
            Self::Counters { key, why } => {
                write!(
                    formatter,
                    "the counters in the key {key} cannot be: {why}; see the runbook, \"Counters that cannot be\""
                )
            }
        }
    }
}
