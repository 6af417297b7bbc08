//! A batch that has just become this consumer's.

use fleet_queue::Lease;
use tokio::sync::OwnedSemaphorePermit;

/// A lease to work on.
#[derive(Debug)]
pub(crate) struct Obtained {
    pub(crate) lease: Lease,
    pub(crate) origin: Origin,
    /// The right to work on a large batch. Without it, the batch is parsed in smaller slices.
    pub(crate) large: Option<OwnedSemaphorePermit>,
}

/// How this consumer has obtained a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Claimed from the queue: nothing of it is stored.
    Claimed,
    /// Taken over from another consumer: some of it may be stored.
    TakenOver,
    /// Parked before, and due again. It is written to both databases even if one of them is down: that is how the consumer
    /// notices that the database has recovered.
    Resumed,
}
