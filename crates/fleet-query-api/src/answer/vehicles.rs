//! `GET /v1/vehicles`.

use std::convert::Infallible;
use std::sync::Arc;
use std::vec;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::format::{Feature, Format, view, write_json};
use crate::app::{App, read_of};
use crate::ask::cursor::Cursor;
use crate::ask::filter::{FILTERS, Filter};
use crate::ask::page::{Selected, select};
use crate::ask::parameters::Parameters;
use crate::knowledge::Read;
use crate::problem::Problem;
use crate::vehicle::VehicleView;

/// Vehicles in a page, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 1000;

/// A response is written in pieces of about this size, so that a slow client needs little memory.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;

/// The parameters of a list of vehicles.
pub(crate) fn known_parameters() -> Vec<&'static str> {
    FILTERS.into_iter().chain(["limit", "after"]).collect()
}

/// Some vehicles.
#[derive(Serialize, ToSchema)]
#[schema(as = VehicleList)]
pub(crate) struct VehicleList<'a> {
    /// When the vehicles were read from the database.
    as_of: Timestamp,
    /// Seconds since then.
    age_s: f64,
    /// Nearest first with `near`, otherwise by `vehicle_id`.
    vehicles: Vec<VehicleView<'a>>,
    /// Ask again with this value of `after` for the next page. Null at the end.
    after: Option<String>,
}

/// Some vehicles as GeoJSON.
#[derive(Serialize, ToSchema)]
#[schema(as = VehicleFeatures)]
pub(crate) struct VehicleFeatures<'a> {
    /// Always `FeatureCollection`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the vehicles were read from the database.
    as_of: Timestamp,
    /// Seconds since then.
    age_s: f64,
    /// Nearest first with `near`, otherwise by `vehicle_id`.
    features: Vec<Feature<'a>>,
    /// Ask again with this value of `after` for the next page. Null at the end.
    after: Option<String>,
}

/// Some vehicles: those in an area or with certain ids, that meet all conditions.
#[utoipa::path(
    get,
    path = "/v1/vehicles",
    tag = "vehicles",
    params(super::documented::FilterParameters, super::documented::PageParameters),
    responses(
        (status = 200, description = "A page of vehicles", content(
            (VehicleList = "application/json"),
            (VehicleFeatures = "application/geo+json"),
        ), links(
            ("vehicle" = (
                operation_id = "by_id",
                parameters(("vehicle_id" = "$response.body#/vehicles/0/vehicle_id")),
            )),
            ("track" = (
                operation_id = "track",
                parameters(("vehicle_id" = "$response.body#/vehicles/0/vehicle_id")),
            )),
            ("vehicle_by_name" = (
                operation_id = "by_name",
                parameters(
                    ("provider" = "$response.body#/vehicles/0/provider"),
                    ("provider_vehicle_id" = "$response.body#/vehicles/0/provider_vehicle_id"),
                ),
            )),
        )),
        super::documented::Problems,
    ),
    security(("token" = ["positions"])),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::negotiate(&headers)?;
    let parameters = Parameters::parse(query.as_deref(), &known_parameters())?;
    let filter = Filter::parse(&parameters)?;
    let limit = parameters.limit(DEFAULT_LIMIT, app.bounds.max_page)?;
    let after = Cursor::parse(&parameters)?;
    let now = Timestamp::now();
    let (page, read) = {
        let known = app.knowledge.get();
        (select(&known.fleet, &filter, after, limit, now), read_of(known.read)?)
    };
    let after = page.next.map(|next| next.encode(&parameters));
    let writer =
        Writer { format, now, read, vehicles: page.vehicles.into_iter(), after, place: Place::Start };
    let pieces = stream::unfold(writer, async |mut writer| Some((writer.next()?, writer)));
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces.fuse())).into_response())
}

/// Writes a page, piece by piece.
struct Writer {
    format: Format,
    now: Timestamp,
    read: Read,
    vehicles: vec::IntoIter<Selected>,
    after: Option<String>,
    place: Place,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first vehicle.
    Start,
    /// Another vehicle, or the end.
    Middle,
    /// Nothing.
    End,
}

impl Writer {
    fn next(&mut self) -> Option<Result<Bytes, Infallible>> {
        let mut text = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        match self.place {
            Place::Start => self.begin(&mut text),
            Place::Middle => {}
            Place::End => return None,
        }
        while text.len() < PIECE_BYTES {
            let Some((distance_m, found)) = self.vehicles.next() else { break };
            if self.place == Place::Middle {
                text.push(b',');
            }
            self.place = Place::Middle;
            match self.format {
                Format::Json => found.write_json(distance_m, self.now, &mut text),
                Format::GeoJson => {
                    let view = view(&found, distance_m, self.now);
                    write_json(&Feature::new(&view, found.vehicle.vehicle_id), &mut text);
                }
            }
        }
        if self.vehicles.as_slice().is_empty() {
            self.place = Place::End;
            text.extend_from_slice(b"],\"after\":");
            write_json(&self.after, &mut text);
            text.push(b'}');
        }
        Some(Ok(Bytes::from(text)))
    }

    fn begin(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(match self.format {
            Format::Json => b"{\"as_of\":",
            Format::GeoJson => b"{\"type\":\"FeatureCollection\",\"as_of\":",
        });
        write_json(&self.read.as_of, text);
        text.extend_from_slice(b",\"age_s\":");
        write_json(&age_s(self.read), text);
        text.extend_from_slice(match self.format {
            Format::Json => b",\"vehicles\":[",
            Format::GeoJson => b",\"features\":[",
        });
    }
}

/// The age of the knowledge in seconds, in milliseconds' precision.
pub(crate) fn age_s(read: Read) -> f64 {
    (read.age().as_secs_f64() * 1000.0).round() / 1000.0
}
