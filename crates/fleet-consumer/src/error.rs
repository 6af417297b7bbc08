//! Why the consumer stops.

use fleet_queue::QueueError;
use fleet_store::StoreError;

/// Why the consumer could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Redis cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A batch cannot be stored.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A defect.
    #[error(
        "a task panicked; a batch it had stays leased for the next consumer. Please report it with the log"
    )]
    Panic,
}

impl ConsumerError {
    /// Whether the settings name a server that cannot be used. A restart does not help then.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Queue(error) | Self::Worker(WorkerError::Queue(error)) => error.is_permanent(),
            Self::Store(_) | Self::Worker(WorkerError::Store { .. }) | Self::Panic => false,
        }
    }
}

/// Why a worker stopped without a shutdown.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A database rejects a batch, and a retry cannot help.
    #[error(
        "a batch of {provider} cannot be stored: {source}. It stays leased; fix the cause and start the consumer again"
    )]
    Store {
        /// Slug of the provider.
        provider: &'static str,
        /// What the database says.
        source: StoreError,
    },
    /// The Redis that the settings name cannot be used.
    #[error(transparent)]
    Queue(QueueError),
}
