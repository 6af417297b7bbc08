//! The one handler: every step of a request, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, Response};
use fleet_runtime::http::Peer;
use http_body_util::Full;
use hyper::body::Incoming;

use crate::arrival::Arrival;
use crate::checks::body::{Verified, verify};
use crate::checks::headers::Admitted;
use crate::outcome::Outcome;
use crate::outcome_record::OutcomeRecord;
use crate::response::respond;
use crate::route::split_path;
use crate::source::Source;

/// Handles the requests of all providers.
pub(crate) struct Handler {
    /// By slug.
    pub(crate) sources: HashMap<&'static str, Arc<Source>>,
    /// Records the requests that name no served provider.
    pub(crate) unknown: OutcomeRecord,
    pub(crate) retry_after: Duration,
}

impl Handler {
    /// Handles one request. There is no router: the first check, for every method and path, is which served provider the
    /// path names.
    pub(crate) fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<> {
        let arrival = Arrival::now(request.headers());
        let named = split_path(request.uri().path()).and_then(|(slug, topic)| {
            let source = self.sources.get(slug)?;
            Some((Arc::clone(source), topic.to_owned()))
        });
        // Outside the future, so that a request that waits for its body does not keep all of its headers in memory.
        let checked = named.map(|(source, topic)| {
            let admitted = Admitted::check(request, peer, Arc::clone(&source), topic);
            (source, admitted)
        });
        async move {
            let Some((source, admitted)) = checked else {
                let outcome = Outcome::UnknownProvider;
                self.unknown.note(outcome, &arrival);
                return respond(outcome, None, arrival.message_id, self.retry_after, HeaderMap::default());
            };
            let (outcome, headers) = match admitted {
                Ok(admitted) => accept(&source, admitted, &arrival).await,
                Err(refused) => (refused, HeaderMap::default()),
            };
            source.record.note(outcome, &arrival);
            respond(outcome, Some(source.provider), arrival.message_id, self.retry_after, headers)
        }
    }
}

/// Verifies the body and pushes the webhook. Returns the outcome, and the header map to make the response of.
async fn accept(source: &Source, admitted: Admitted, arrival: &Arrival) -> (Outcome, HeaderMap) {
    let Verified { webhook, permits, spare_headers, kept: _kept } = match verify(admitted).await {
        Ok(verified) => verified,
        Err(refused) => return (refused, HeaderMap::default()),
    };
    let pushing = source.commit.push(&webhook.envelope(arrival), permits);
    // The envelope is in the batch now. hyper reads the next request into the buffer that held the body.
    drop(webhook);
    (pushing.await, spare_headers)
}
