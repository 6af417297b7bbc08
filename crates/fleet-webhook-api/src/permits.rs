//! What requests hold of their provider's bounds while they are in flight.

use tokio::sync::OwnedSemaphorePermit;

/// The permits of one or more requests of one provider; returned when dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    requests: OwnedSemaphorePermit,
    body_bytes: Option<OwnedSemaphorePermit>,
}

impl Permits {
    pub(crate) fn new(requests: OwnedSemaphorePermit, body_bytes: Option<OwnedSemaphorePermit>) -> Self {
        Self { requests, body_bytes }
    }

    /// Adds the permits of another request of the same provider.
    pub(crate) fn merge(&mut self, other: Self) {
        self.requests.merge(other.requests);
        merge(&mut self.body_bytes, other.body_bytes);
    }
}

/// Adds permits of the same semaphore.
pub(crate) fn merge(permits: &mut Option<OwnedSemaphorePermit>, others: Option<OwnedSemaphorePermit>) {
    match (permits.as_mut(), others) {
        (Some(permits), Some(others)) => permits.merge(others),
        (None, others) => *permits = others,
        (Some(_), None) => {}
    }
}
