//! `GET /v1/vehicles/{vehicle_id}/track`.

mod reader;
pub(crate) mod writer;

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use fleet_store::TrackBounds;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use self::reader::{ReadError, Reader};
use self::writer::{TrackFeature, TrackList, Writer};
use super::format::Format;
use super::vehicle::{find, parse_id};
use crate::access::Caller;
use crate::app::App;
use crate::ask::cursor::Cursor;
use crate::ask::parameters::Parameters;
use crate::problem::{Kind, Problem};

/// The parameters of a track.
pub(crate) const PARAMETERS: [&str; 4] = ["from", "to", "limit", "after"];

/// Points in a page, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 1000;

/// The time before `to` at which a track begins, unless the request says otherwise.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(1);

/// Where a vehicle was: the positions in its reports from `from` to `to`, the oldest first. The response is streamed from the
/// database.
#[utoipa::path(
    get,
    path = "/v1/vehicles/{vehicle_id}/track",
    tag = "vehicles",
    params(
        ("vehicle_id" = Uuid, Path, description = "The vehicle's id"),
        super::documented::TrackParameters,
        super::documented::PageParameters,
    ),
    responses(
        (status = 200, description = "A page of the track", content(
            (TrackList = "application/json"),
            (TrackFeature = "application/geo+json"),
        )),
        super::documented::VehicleProblems,
    ),
    security(("token" = ["tracks"])),
)]
pub(crate) async fn track(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Arc<Caller>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::negotiate(&headers)?;
    let parameters = Parameters::parse(query.as_deref(), &PARAMETERS)?;
    let vehicle_id = parse_id(path)?;
    let limit = parameters.limit(DEFAULT_LIMIT, app.bounds.max_page)?;
    let after = Cursor::parse(&parameters)?;
    let (from, to) = span(&parameters, app.bounds.max_track_span)?;
    find(&app, vehicle_id)?;
    tracing::info!(token = caller.name, %vehicle_id, %from, %to, "a track is read");
    let (first, below) = match after {
        Some(Cursor::Event(at, event_id)) => (at.max(from), event_id),
        Some(Cursor::Id(_) | Cursor::Distance(..)) | None => (from, Uuid::max()),
    };
    let bounds = TrackBounds { vehicle_id, from: first, below, to };
    let share = Arc::clone(&caller.tracks);
    let reader = Reader { store: app.tracks.clone(), share, wait: app.bounds.track_wait };
    let mut writer = Writer::new(format, parameters, (from, to), bounds, limit, reader);
    let begun = writer.begin().await.map_err(|error| unavailable(&error))?;
    let pieces = stream::unfold((Some(begun), writer), async |(begun, mut writer)| {
        let piece = match begun {
            Some(begun) => Some(Ok(begun)),
            None => writer.next().await.transpose(),
        };
        // The client sees that the response is incomplete, because it does not end as a chunked response must.
        let piece = piece?.map_err(|error| io::Error::other(cut_off(&error)));
        Some((piece, (None, writer)))
    });
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces.fuse())).into_response())
}

fn unavailable(error: &ReadError) -> Problem {
    tracing::warn!(%error, "a track cannot be read");
    match error {
        ReadError::Busy => Problem::new(Kind::Overloaded, "the token reads too many tracks; retry later"),
        ReadError::Store(_) => Problem::new(
            Kind::DatabaseUnavailable,
            "the track cannot be read from the database now; retry later",
        ),
    }
}

fn cut_off(error: &ReadError) -> &'static str {
    tracing::warn!(%error, "a track is cut off");
    "the track cannot be read to its end"
}

/// The two ends of the track.
fn span(parameters: &Parameters, longest: SignedDuration) -> Result<(Timestamp, Timestamp), Problem> {
    let to = parameters.time("to")?.unwrap_or_else(Timestamp::now);
    let before = |span| to.checked_sub(span).unwrap_or(Timestamp::MIN);
    let from = parameters.time("from")?.unwrap_or_else(|| before(DEFAULT_SPAN.min(longest)));
    if from >= to {
        return Err(Problem::invalid("from", "must be before to"));
    }
    if to.duration_since(from) > longest {
        let detail = format!("must be at most {longest:#} before to; ask for the rest in another request");
        return Err(Problem::invalid("from", detail));
    }
    Ok((from, to))
}
