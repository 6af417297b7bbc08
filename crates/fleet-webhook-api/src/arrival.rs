//! A request's identity: when it arrived, its id and its trace context.

use std::time::Instant;

use axum::http::HeaderMap;
use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use crate::request_headers::traceparent;

/// The arrival of one request.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) started: Instant,
    pub(crate) received_at: Timestamp,
    /// Also the response's `x-request-id`.
    pub(crate) message_id: Uuid,
    pub(crate) traceparent: Option<String>,
}

impl Arrival {
    /// A request with these headers, which arrives now.
    pub(crate) fn now(headers: &HeaderMap) -> Self {
        let received_at = Timestamp::now();
        Self {
            started: Instant::now(),
            received_at,
            message_id: message_id(received_at),
            traceparent: traceparent(headers),
        }
    }
}

/// A UUIDv7 of this time. Within one millisecond the order of the ids does not matter.
fn message_id(received_at: Timestamp) -> Uuid {
    let seconds = u64::try_from(received_at.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(received_at.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}
