//! `GET /openapi.json`: the document that describes all of this, made from the code.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::format::{Feature, PointGeometry};
use super::stream::data::{Gone, StreamState};
use super::track::writer::{LineGeometry, PointView, TrackFeature, TrackList, TrackProperties};
use super::vehicle::{OneFeature, OneVehicle};
use super::vehicles::{VehicleFeatures, VehicleList};
use super::{stream, track, vehicle, vehicles};
use crate::problem::ProblemBody;
use crate::vehicle::VehicleView;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "fleet-query-api",
        description = "Where the vehicles of the fleet are, and where they were. Read only. All times are UTC in RFC 3339.",
    ),
    paths(vehicles::list, vehicle::by_id, vehicle::by_name, track::track, stream::stream),
    components(schemas(
        VehicleView, VehicleList, VehicleFeatures, OneVehicle, OneFeature, Feature, PointGeometry, TrackList, TrackFeature,
        TrackProperties, LineGeometry, PointView, StreamState, Gone, ProblemBody,
    )),
    modifiers(&Token),
)]
struct Document;

/// Adds the bearer token.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Not needed if the service has no tokens, in which case it serves loopback only.",
            ))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document as JSON.
pub(crate) fn document() -> String {
    let mut document = Document::openapi();
    document.info.license = None;
    serde_json::to_string(&document).unwrap_or_default()
}

/// Serves the document.
pub(crate) fn serve(document: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
