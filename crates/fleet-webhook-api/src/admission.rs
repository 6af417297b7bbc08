//! What bounds one provider's requests: how many, how many bytes, for how long.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use fleet_runtime::http::{Kept, Peer};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Shed, ShedMetrics};
use crate::response::Outcome;
use crate::unauthenticated::{AwaitedBody, UnauthenticatedBodies};

/// Bounds of one provider. Each provider has its own: whoever exhausts them holds up no other provider's webhooks. Those of
/// authenticated requests and those of unknown senders are apart: unknown senders cannot take the provider's place.
#[derive(Debug)]
pub(crate) struct Admission {
    /// One permit an authenticated request.
    requests: Arc<Semaphore>,
    /// One permit a connection of the provider's that is kept however many others wait.
    kept: Arc<Semaphore>,
    /// One permit a byte of body that has arrived in an authenticated request.
    body_bytes: Arc<Semaphore>,
    /// Bodies that are awaited before their sender is known.
    unauthenticated: Arc<UnauthenticatedBodies>,
    /// Most bytes of a body.
    pub(crate) max_body_bytes: u64,
    /// Most time for a body.
    body_timeout: Duration,
    /// Counts those that were not let in.
    pub(crate) shed: ShedMetrics,
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

/// Requests' share of what bounds a provider's requests at work; given back when dropped.
#[derive(Debug)]
pub struct Permits {
    requests: OwnedSemaphorePermit,
    body_bytes: Option<OwnedSemaphorePermit>,
}

impl Permits {
    pub(crate) fn new(requests: OwnedSemaphorePermit, body_bytes: Option<OwnedSemaphorePermit>) -> Self {
        Self { requests, body_bytes }
    }

    /// Adds those of another request of the same provider.
    pub fn merge(&mut self, other: Self) {
        self.requests.merge(other.requests);
        merge(&mut self.body_bytes, other.body_bytes);
    }
}

fn merge(permits: &mut Option<OwnedSemaphorePermit>, others: Option<OwnedSemaphorePermit>) {
    match (permits.as_mut(), others) {
        (Some(permits), Some(others)) => permits.merge(others),
        (None, others) => *permits = others,
        (Some(_), None) => {}
    }
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
            max_body_bytes: limits.max_body_bytes,
            body_timeout: limits.body_timeout,
            shed: ShedMetrics::new(provider),
        }
    }

    /// Keeps the connection of a request that has proven who sent it: from now on, or until the guard is dropped if the
    /// provider has its share of connections already, so that one provider does not take those of all.
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
            Err(_enough) => peer.work().map(Some).ok_or(Outcome::Busy),
        }
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
    pub(crate) fn pay_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Outcome> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.body_bytes)
            .try_acquire_many_owned(bytes)
            .map_err(|_full| self.shed(Shed::BodyBytesInFlight))
    }

    /// Reads the body of an authenticated request, and pays for it.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub(crate) async fn read(
        &self,
        body: Incoming,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Outcome> {
        let mut account = Account::Permits(None);
        let body = self.in_time(self.collect(body, &mut account)).await?;
        match account {
            Account::Permits(permits) => Ok((body, permits)),
            Account::Unknown { .. } => Ok((body, None)),
        }
    }

    /// Reads the body of a request of an unknown sender.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub(crate) async fn read_unauthenticated(&self, body: Incoming, peer: &Peer) -> Result<Bytes, Outcome> {
        let mut account = Account::Unknown { peer, arrived: 0, awaited: None };
        self.in_time(self.collect(body, &mut account)).await
    }

    async fn in_time<T>(&self, reading: impl Future<Output = Result<T, Outcome>>) -> Result<T, Outcome> {
        let mut reading = pin!(reading);
        // Most bodies are here with the head, and need no timer.
        if let Some(read) = reading.as_mut().now_or_never() {
            return read;
        }
        tokio::time::timeout(self.body_timeout, reading).await.unwrap_or(Err(Outcome::BodyTimeout))
    }

    /// Bytes are paid for when they arrive, not when they are announced: announcing costs the sender nothing.
    async fn collect(&self, mut body: Incoming, account: &mut Account<'_>) -> Result<Bytes, Outcome> {
        let mut first = Bytes::new();
        let mut whole = Vec::new();
        loop {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    account.wait(self)?;
                    body.frame().await
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_broken| Outcome::BodyIncomplete)?;
            // Trailers say nothing.
            let Ok(data) = frame.into_data() else { continue };
            let length = u64::try_from(first.len() + whole.len() + data.len()).unwrap_or(u64::MAX);
            if length > self.max_body_bytes {
                return Err(Outcome::TooLarge);
            }
            account.pay(self, data.len())?;
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                whole.reserve_exact(first.len() + data.len() + account.announced(&body));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        Ok(if whole.is_empty() { first } else { whole.into() })
    }

    fn shed(&self, reason: Shed) -> Outcome {
        self.shed.count(reason);
        Outcome::Busy
    }
}

/// Who pays for a body.
enum Account<'a> {
    /// The provider.
    Permits(Option<OwnedSemaphorePermit>),
    /// Nobody knows yet. What is here at once is not counted: it is judged before anything else is read.
    Unknown { peer: &'a Peer, arrived: usize, awaited: Option<AwaitedBody> },
}

impl Account<'_> {
    fn pay(&mut self, admission: &Admission, bytes: usize) -> Result<(), Outcome> {
        match self {
            Self::Permits(permits) => merge(permits, Some(admission.pay_for(bytes)?)),
            Self::Unknown { awaited: Some(awaited), .. } => add(admission, awaited, bytes)?,
            Self::Unknown { arrived, awaited: None, .. } => *arrived += bytes,
        }
        Ok(())
    }

    /// How much room to make for what is announced. For an unknown sender none: announcing must not take memory.
    fn announced(&self, body: &Incoming) -> usize {
        match self {
            Self::Permits(_) => usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0),
            Self::Unknown { .. } => 0,
        }
    }

    /// The rest of the body is not here yet.
    fn wait(&mut self, admission: &Admission) -> Result<(), Outcome> {
        match self {
            Self::Permits(_) | Self::Unknown { awaited: Some(_), .. } => Ok(()),
            Self::Unknown { peer, arrived, awaited } => {
                let awaited = awaited.insert(admission.unauthenticated.wait(peer));
                add(admission, awaited, *arrived)
            }
        }
    }
}

fn add(admission: &Admission, awaited: &mut AwaitedBody, bytes: usize) -> Result<(), Outcome> {
    awaited.add(bytes).map_err(|_no_room| admission.shed(Shed::BodyBytesInFlight))
}
