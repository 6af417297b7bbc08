//! The bounds of one provider's requests: how many, how many bytes, for how long.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::http::{Kept, Peer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Shed, ShedMetrics};
use crate::outcome::Outcome;
use crate::unauthenticated::{AwaitedBody, UnauthenticatedBodies};

/// The bounds of one provider, which no other provider's requests count against. Requests of unauthenticated clients have
/// bounds of their own, so that they cannot use up those of the provider.
#[derive(Debug)]
pub(crate) struct Admission {
    /// One permit for each authenticated request.
    requests: Arc<Semaphore>,
    /// One permit for each of the provider's connections that is never closed to make room.
    kept: Arc<Semaphore>,
    /// One permit for each byte of an authenticated body that has arrived.
    body_bytes: Arc<Semaphore>,
    unauthenticated: Arc<UnauthenticatedBodies>,
    limits: AdmissionLimits,
    shed: ShedMetrics,
}

/// What an [`Admission`] lets in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionLimits {
    pub(crate) max_requests: usize,
    pub(crate) max_kept_connections: usize,
    pub(crate) max_bytes: u64,
    pub(crate) max_unauthenticated_bytes: u64,
    pub(crate) max_body_bytes: u64,
    pub(crate) body_timeout: Duration,
}

impl Admission {
    pub(crate) fn new(provider: &'static str, limits: AdmissionLimits) -> Self {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            requests: permits(limits.max_requests),
            kept: permits(limits.max_kept_connections),
            body_bytes: permits(size(limits.max_bytes)),
            unauthenticated: UnauthenticatedBodies::new(size(limits.max_unauthenticated_bytes)),
            limits,
            shed: ShedMetrics::new(provider),
        }
    }

    /// Most bytes of a body.
    pub(crate) fn max_body_bytes(&self) -> u64 {
        self.limits.max_body_bytes
    }

    /// Most time for a body.
    pub(crate) fn body_timeout(&self) -> Duration {
        self.limits.body_timeout
    }

    /// Keeps the connection of an authenticated request open when others are closed to make room. If the provider has its
    /// share of kept connections already, this one is kept only until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Outcome::Busy`] if the connection has just been closed to make room.
    pub(crate) fn keep(&self, peer: &Peer) -> Result<Option<Kept>, Outcome> {
        if peer.is_kept() {
            return Ok(None);
        }
        match Arc::clone(&self.kept).try_acquire_owned() {
            Ok(permit) => {
                let is_kept = peer.note_authenticated(permit);
                if is_kept { Ok(None) } else { Err(Outcome::Busy) }
            }
            Err(_enough) => peer.keep_for_request().map(Some).ok_or(Outcome::Busy),
        }
    }

    /// Refuses a webhook because the provider's backlog is above its cap.
    pub(crate) fn refuse_for_backlog(&self) -> Outcome {
        self.shed.count(Shed::BacklogFull);
        Outcome::BacklogFull
    }

    /// Lets an authenticated request in.
    ///
    /// # Errors
    ///
    /// [`Outcome::Busy`].
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Outcome> {
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_full| self.shed(Shed::RequestsInFlight))
    }

    /// Lets bytes of an authenticated request in.
    ///
    /// # Errors
    ///
    /// [`Outcome::Busy`].
    pub(crate) fn admit_bytes(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Outcome> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.body_bytes)
            .try_acquire_many_owned(bytes)
            .map_err(|_full| self.shed(Shed::BodyBytesInFlight))
    }

    /// Begins to count the bytes of an unauthenticated body, the rest of which has not arrived yet.
    pub(crate) fn await_unauthenticated(&self, peer: &Peer) -> AwaitedBody {
        self.unauthenticated.wait(peer)
    }

    /// Lets bytes of an unauthenticated body in.
    ///
    /// # Errors
    ///
    /// [`Outcome::Busy`].
    pub(crate) fn admit_unauthenticated_bytes(
        &self,
        body: &mut AwaitedBody,
        bytes: usize,
    ) -> Result<(), Outcome> {
        body.add(bytes).map_err(|_no_room| self.shed(Shed::BodyBytesInFlight))
    }

    fn shed(&self, reason: Shed) -> Outcome {
        self.shed.count(reason);
        Outcome::Busy
    }
}
