//! The bounds of the pushes to one queue.

use std::time::Duration;

/// Bounds of the pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitLimits {
    /// Most messages in one push.
    pub(crate) max_messages: usize,
    /// Most bytes in one push; a single larger message is pushed alone.
    pub(crate) max_bytes: usize,
    /// Most messages that wait for a push.
    pub(crate) queue: usize,
    /// Most bytes of the queue in Redis, waiting or in flight.
    pub(crate) max_backlog_bytes: u64,
    /// Longest wait of a request for replicas that must confirm pushes; absent if pushes wait for none.
    pub(crate) replica_patience: Option<Duration>,
}
