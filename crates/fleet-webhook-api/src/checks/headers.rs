//! The checks on a request's headers, in order.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, Request};
#[cfg(doc)]
use fleet_providers::AuthScheme;
use fleet_providers::Verdict;
use fleet_runtime::http::{Kept, Peer};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::outcome::Outcome;
use crate::request_headers::{content_length, content_type, is_encoded};
use crate::source::Source;

/// A request whose headers have passed every check. It holds only those headers that the signature needs: the others would
/// stay in memory for as long as the body takes.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(super) source: Arc<Source>,
    pub(super) topic: String,
    pub(super) content_type: Option<Cow<'static, str>>,
    pub(super) headers: HeaderMap,
    pub(super) sender: Sender,
    pub(super) body: Incoming,
}

/// What the headers prove about the sender.
#[derive(Debug)]
pub(super) enum Sender {
    /// The provider sent the request, which is in flight from now on.
    Authenticated(OwnedSemaphorePermit, Option<Kept>),
    /// Only the body can prove the sender; under [`AuthScheme::None`] nothing can.
    Unauthenticated(Peer),
}

impl Admitted {
    /// Checks a request's headers.
    ///
    /// # Errors
    ///
    /// The outcome of the first check that fails.
    pub(crate) fn check(
        request: Request<Incoming>,
        peer: Peer,
        source: Arc<Source>,
        topic: String,
    ) -> Result<Self, Outcome> {
        let admission = &source.admission;
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Outcome::MethodNotAllowed);
        }
        let declared = content_length(&parts.headers);
        if declared.is_some_and(|bytes| bytes > admission.max_body_bytes()) {
            return Err(Outcome::TooLarge);
        }
        if is_encoded(&parts.headers) {
            return Err(Outcome::UnsupportedEncoding);
        }
        let verdict = source.scheme.verify_head(&parts.headers, parts.uri.query(), &source.secrets.get());
        if verdict == Verdict::Refused {
            return Err(Outcome::Unauthorized);
        }
        let is_authenticated = verdict == Verdict::Genuine && source.scheme.authenticates();
        let kept = if is_authenticated { admission.keep(&peer)? } else { None };
        if source.commit.is_shedding() {
            return Err(admission.refuse_for_backlog());
        }
        let content_type = content_type(&parts.headers);
        let mut headers = parts.headers;
        source.scheme.retain_proof(&mut headers);
        let sender = if is_authenticated {
            Sender::Authenticated(admission.admit()?, kept)
        } else {
            Sender::Unauthenticated(peer)
        };
        Ok(Self { source, topic, content_type, headers, sender, body })
    }
}
