//! `GET /openapi.json`: the document that describes all of this, made from the code.

use serde_json::Value;
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

/// The document as JSON, for a service with these bounds.
pub(crate) fn document(needs_token: bool, max_page: usize) -> String {
    let mut document = Document::openapi();
    document.info.license = None;
    // Plain data can always be made into a tree.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    for operation in paths.filter_map(|(_path, methods)| methods.get_mut("get")) {
        if !needs_token && let Some(operation) = operation.as_object_mut() {
            operation.remove("security");
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        for limit in parameters.filter(|parameter| parameter["name"] == "limit") {
            limit["schema"]["maximum"] = Value::from(max_page);
        }
    }
    document.to_string()
}
