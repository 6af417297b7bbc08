//! JSON or GeoJSON.

use axum::http::{HeaderMap, header};
use fleet_store::FoundVehicle;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::{Kind, Problem};
use crate::vehicle::VehicleView;

/// A format of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    GeoJson,
}

impl Format {
    /// The format that the client prefers: JSON unless it prefers GeoJSON.
    ///
    /// # Errors
    ///
    /// If the client accepts neither.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Self, Problem> {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(range).collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        // The most specific range decides about a format.
        let quality = |names: [&str; 3]| {
            let of = |name: &str| ranges.iter().find(|(range, _)| range == name).map(|(_, quality)| *quality);
            names.into_iter().find_map(of).unwrap_or_default()
        };
        let json = quality(["application/json", "application/*", "*/*"]);
        let geo_json = quality(["application/geo+json", "application/*", "*/*"]);
        if geo_json > json {
            Ok(Self::GeoJson)
        } else if json > 0.0 {
            Ok(Self::Json)
        } else {
            Err(Problem::new(Kind::NotAcceptable, "accept application/json or application/geo+json"))
        }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GeoJson => "application/geo+json",
        }
    }
}

/// A media range in lower case, and its quality.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().filter(|name| !name.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    Some((name, quality.unwrap_or(1.0)))
}

/// Whether the client has the response with this entity tag.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    values.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

/// Appends a value. Serialising plain data into memory cannot fail.
pub(crate) fn write_json(value: &impl Serialize, text: &mut Vec<u8>) {
    let _written = serde_json::to_writer(text, value);
}

/// A feature of GeoJSON.
#[derive(Serialize, ToSchema)]
#[schema(as = VehicleFeature)]
pub(crate) struct Feature<'a> {
    /// Always `Feature`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The vehicle's id.
    id: Uuid,
    /// Null if the vehicle has no position.
    geometry: Option<PointGeometry>,
    /// The vehicle.
    properties: &'a VehicleView<'a>,
}

/// A point of GeoJSON.
#[derive(Serialize, ToSchema)]
#[schema(as = Point)]
pub(crate) struct PointGeometry {
    /// Always `Point`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Longitude and latitude, degrees.
    coordinates: [f64; 2],
}

impl<'a> Feature<'a> {
    pub(crate) fn new(view: &'a VehicleView<'a>, id: Uuid) -> Self {
        let point = |coordinates| PointGeometry { kind: "Point", coordinates };
        Self { kind: "Feature", id, geometry: view.coordinates().map(point), properties: view }
    }
}

/// The vehicle at `now`, with the distance if it has one.
pub(crate) fn view<'a>(found: &'a FoundVehicle, distance_m: Option<f64>, now: Timestamp) -> VehicleView<'a> {
    VehicleView::new(found, now).with_distance(distance_m)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_chooses_the_format() {
        let negotiate = |accept: &str| {
            let headers = [(header::ACCEPT, HeaderValue::from_str(accept).unwrap())].into_iter().collect();
            Format::negotiate(&headers).ok()
        };
        assert_eq!(Format::negotiate(&HeaderMap::new()), Ok(Format::Json));
        for accept in ["*/*", "application/json", "application/*;q=0.5", "text/html, */*;q=0.1", ""] {
            assert_eq!(negotiate(accept), Some(Format::Json), "{accept}");
        }
        for accept in [
            "application/geo+json",
            "application/json;q=0.5, Application/GEO+json",
            "*/*;q=0, application/geo+json",
        ] {
            assert_eq!(negotiate(accept), Some(Format::GeoJson), "{accept}");
        }
        assert_eq!(negotiate("text/html"), None);
        assert_eq!(negotiate("application/json;q=0"), None);
    }
}
