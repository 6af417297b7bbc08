//! `GET /v1/vehicles/{vehicle_id}` and `GET /v1/providers/{provider}/vehicles/{provider_vehicle_id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fleet_store::FoundVehicle;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::format::{Feature, Format, is_known, view, write_json};
use super::vehicles::age_s;
use crate::app::{App, read_of};
use crate::ask::parameters::Parameters;
use crate::fleet::entry::Entry;
use crate::knowledge::Read;
use crate::problem::{Kind, Problem};
use crate::vehicle::VehicleView;

/// One vehicle, and how old the knowledge about it is.
#[derive(Serialize, ToSchema)]
#[schema(as = OneVehicle)]
pub(crate) struct OneVehicle<'a> {
    /// When the vehicle was read from the database.
    as_of: Timestamp,
    /// Seconds since then.
    age_s: f64,
    #[serde(flatten)]
    vehicle: VehicleView<'a>,
}

/// The same as GeoJSON.
#[derive(Serialize, ToSchema)]
#[schema(as = OneVehicleFeature)]
pub(crate) struct OneFeature<'a> {
    /// When the vehicle was read from the database.
    as_of: Timestamp,
    /// Seconds since then.
    age_s: f64,
    #[serde(flatten)]
    feature: Feature<'a>,
}

/// One vehicle by its id.
#[utoipa::path(
    get,
    path = "/v1/vehicles/{vehicle_id}",
    tag = "vehicles",
    params(
        ("vehicle_id" = Uuid, Path, description = "The vehicle's id"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier response"),
    ),
    responses(
        (status = 200, description = "The vehicle", headers(("ETag" = String)), content(
            (OneVehicle = "application/json"),
            (OneFeature = "application/geo+json"),
        )),
        (status = 304, description = "The state is still the one of the entity tag"),
        super::documented::VehicleProblems,
    ),
    security(("token" = ["positions"])),
)]
pub(crate) async fn by_id(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::negotiate(&headers)?;
    Parameters::parse(query.as_deref(), &[])?;
    let vehicle_id = parse_id(path)?;
    let (found, read) = find(&app, vehicle_id)?;
    Ok(respond(format, &headers, &found, read))
}

/// One vehicle by its provider's own id.
#[utoipa::path(
    get,
    path = "/v1/providers/{provider}/vehicles/{provider_vehicle_id}",
    tag = "vehicles",
    params(
        ("provider" = String, Path, description = "The provider's slug: niu, segway or invers"),
        ("provider_vehicle_id" = String, Path, description = "The provider's own id, percent-encoded"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier response"),
    ),
    responses(
        (status = 200, description = "The vehicle", headers(("ETag" = String)), content(
            (OneVehicle = "application/json"),
            (OneFeature = "application/geo+json"),
        )),
        (status = 304, description = "The state is still the one of the entity tag"),
        super::documented::VehicleProblems,
    ),
    security(("token" = ["positions"])),
)]
pub(crate) async fn by_name(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::negotiate(&headers)?;
    Parameters::parse(query.as_deref(), &[])?;
    let Path((provider, provider_vehicle_id)) =
        path.map_err(|_not_utf8| Problem::invalid("provider_vehicle_id", "must be UTF-8, percent-encoded"))?;
    let vehicle_id = fleet_providers::vehicle_id(&provider, &provider_vehicle_id);
    let (found, read) = find(&app, vehicle_id)?;
    Ok(respond(format, &headers, &found, read))
}

/// The id in a path.
pub(crate) fn parse_id(path: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let id = path.ok().and_then(|Path(text)| text.parse().ok());
    id.ok_or_else(|| Problem::invalid("vehicle_id", "must be a UUID, the vehicle_id of a vehicle"))
}

/// The vehicle, and when it was read.
pub(crate) fn find(app: &App, vehicle_id: Uuid) -> Result<(Arc<Entry>, Read), Problem> {
    let known = app.knowledge.get();
    let read = read_of(known.read)?;
    let found = known.fleet.get(vehicle_id).map(|(_slot, found)| Arc::clone(found));
    let found = found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such vehicle"))?;
    Ok((found, read))
}

fn respond(format: Format, headers: &HeaderMap, found: &FoundVehicle, read: Read) -> Response {
    let vehicle = view(found, None, Timestamp::now());
    let tag = format!("{}{}\"", vehicle.entity_tag().trim_end_matches('"'), suffix(format));
    let mut response = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let (as_of, age_s) = (read.as_of, age_s(read));
        let mut text = Vec::new();
        match format {
            Format::Json => write_json(&OneVehicle { as_of, age_s, vehicle }, &mut text),
            Format::GeoJson => {
                let feature = Feature::new(&vehicle, found.vehicle.vehicle_id);
                write_json(&OneFeature { as_of, age_s, feature }, &mut text);
            }
        }
        ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
    };
    // Hexadecimal digits are always a valid header value.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The formats have different tags.
fn suffix(format: Format) -> &'static str {
    match format {
        Format::Json => "-j",
        Format::GeoJson => "-g",
    }
}
