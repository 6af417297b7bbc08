//! `GET /v1/vehicles/stream`: server-sent events.
//!
//! A stream begins with a snapshot: the event `snapshot`, every vehicle as an event `vehicle`, and an event `heartbeat`. Then come
//! the changes. The id of an event is the last change of which everything has been told. It is empty while a snapshot is under way,
//! so that a client that comes back before its end gets another one.

pub(crate) mod data;
mod text;
mod told;
mod writer;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};

use self::writer::Writer;
use crate::app::{App, read_of};
use crate::ask::filter::{FILTERS, Filter};
use crate::ask::parameters::Parameters;
use crate::problem::Problem;

/// The vehicles that meet all conditions, and every change of them, as server-sent events.
///
/// `snapshot` (`StreamState`): forget all vehicles; all that meet the conditions follow. `vehicle` (`Vehicle`): the state of a
/// vehicle, new or changed. `gone` (`Gone`): the vehicle no longer meets the conditions. `heartbeat` (`StreamState`): everything up
/// to here has been told; also the end of a snapshot.
#[utoipa::path(
    get,
    path = "/v1/vehicles/stream",
    tag = "vehicles",
    params(
        super::documented::FilterParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "Where an earlier stream with the same parameters ended"),
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        super::documented::Problems,
    ),
    security(("token" = ["positions"])),
)]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(query.as_deref(), &FILTERS)?;
    let filter = Filter::parse(&parameters)?;
    read_of(app.knowledge.read())?;
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let writer = Writer::new(app, filter, parameters.fingerprint(), last_event_id);
    let pieces = stream::unfold(writer, async |mut writer| {
        let piece = writer.next().await?;
        Some((Ok::<_, Infallible>(piece), writer))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Some proxies would gather the events.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(pieces.fuse())).into_response())
}
