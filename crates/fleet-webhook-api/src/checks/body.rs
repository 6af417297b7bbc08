//! The checks on a request's body, in order, and the envelope of a webhook that has passed all of them.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::HeaderMap;
use fleet_providers::Verdict;
use fleet_queue::Envelope;
use fleet_runtime::http::Kept;

use super::headers::{Admitted, Sender};
use crate::arrival::Arrival;
use crate::body_reader::{read, read_unauthenticated};
use crate::outcome::Outcome;
use crate::permits::Permits;

/// A webhook that may be pushed.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) webhook: VerifiedWebhook,
    /// Held until Redis has replied.
    pub(crate) permits: Permits,
    /// The request's header map, emptied. hyper reuses the response's map for the next request, so that it need not be
    /// allocated again.
    pub(crate) spare_headers: HeaderMap,
    /// Keeps the connection open until the response, unless the connection is kept for longer.
    pub(crate) kept: Option<Kept>,
}

/// A webhook whose sender is verified and whose body is complete. Only [`verify`] makes one.
#[derive(Debug)]
pub(crate) struct VerifiedWebhook {
    topic: String,
    content_type: Option<Cow<'static, str>>,
    body: Bytes,
}

impl VerifiedWebhook {
    /// What is pushed into the queue.
    pub(crate) fn envelope<'a>(&'a self, arrival: &'a Arrival) -> Envelope<'a> {
        Envelope {
            message_id: arrival.message_id,
            received_at: arrival.received_at,
            topic: &self.topic,
            content_type: self.content_type.as_deref(),
            traceparent: arrival.traceparent.as_deref(),
            body: &self.body,
        }
    }
}

/// Reads the body of a request and verifies it.
///
/// # Errors
///
/// The outcome of the first check that fails.
pub(crate) async fn verify(admitted: Admitted) -> Result<Verified, Outcome> {
    let Admitted { source, topic, content_type, mut headers, sender, body } = admitted;
    let admission = &source.admission;
    let (body, permits, kept) = match sender {
        Sender::Authenticated(request, kept) => {
            let (body, bytes) = read(admission, body).await?;
            (not_empty(body)?, Permits::new(request, bytes), kept)
        }
        Sender::Unauthenticated(peer) => {
            let body = not_empty(read_unauthenticated(admission, body, &peer).await?)?;
            let secrets = source.secrets.get();
            let verdict = source.scheme.verify_body(&headers, content_type.as_deref(), &body, &secrets);
            if verdict != Verdict::Genuine {
                return Err(Outcome::Unauthorized);
            }
            headers.clear();
            let kept = if source.scheme.authenticates() {
                admission.keep(&peer)?
            } else {
                Some(peer.keep_for_request().ok_or(Outcome::Busy)?)
            };
            let permits = Permits::new(admission.admit()?, Some(admission.admit_bytes(body.len())?));
            (body, permits, kept)
        }
    };
    let webhook = VerifiedWebhook { topic, content_type, body };
    Ok(Verified { webhook, permits, spare_headers: headers, kept })
}

fn not_empty(body: Bytes) -> Result<Bytes, Outcome> {
    if body.is_empty() { Err(Outcome::EmptyBody) } else { Ok(body) }
}
