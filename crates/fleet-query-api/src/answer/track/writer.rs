//! Writes a track while it is read, page by page.

use axum::body::Bytes;
use fleet_store::{TrackBounds, TrackPoint};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reader::{ReadError, Reader};
use crate::answer::format::{Format, write_json};
use crate::ask::cursor::Cursor;
use crate::ask::parameters::Parameters;

/// Points in one statement. A response holds this many in memory, and its connection to the database is free meanwhile.
const POINTS_AT_A_TIME: usize = 1000;

/// Where a vehicle was.
#[derive(Serialize, ToSchema)]
#[schema(as = Track)]
pub(crate) struct TrackList {
    vehicle_id: Uuid,
    from: Timestamp,
    to: Timestamp,
    /// The oldest first.
    points: Vec<PointView>,
    /// Ask again with this value of `after` for the next page. Null at the end.
    after: Option<String>,
}

/// A position of a vehicle.
#[derive(Serialize, ToSchema)]
#[schema(as = TrackPoint)]
pub(crate) struct PointView {
    /// When the report was observed. Its position may come from an earlier fix.
    observed_at: Timestamp,
    /// When the report was received.
    received_at: Timestamp,
    /// Degrees, as the provider sends it.
    lat: f64,
    /// Degrees, as the provider sends it.
    lon: f64,
    /// Kilometres an hour.
    speed_kmh: Option<f64>,
    /// Charge of the traction battery, or fuel level, 0 to 100.
    battery_percent: Option<f64>,
}

/// Where a vehicle was, as GeoJSON.
#[derive(Serialize, ToSchema)]
#[schema(as = TrackFeature)]
pub(crate) struct TrackFeature {
    /// Always `Feature`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The vehicle's id.
    id: Uuid,
    /// Null without any point.
    geometry: Option<LineGeometry>,
    properties: TrackProperties,
    /// Ask again with this value of `after` for the next page. Null at the end.
    after: Option<String>,
}

/// A line of GeoJSON, or a point if there is only one position.
#[derive(Serialize, ToSchema)]
#[schema(as = Line)]
pub(crate) struct LineGeometry {
    /// `LineString`, or `Point`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Longitude and latitude of each point, degrees; of a `Point` only one pair.
    #[schema(value_type = Vec<serde_json::Value>)]
    coordinates: serde_json::Value,
}

/// What belongs to the line.
#[derive(Serialize, ToSchema)]
#[schema(as = TrackProperties)]
pub(crate) struct TrackProperties {
    vehicle_id: Uuid,
    from: Timestamp,
    to: Timestamp,
    /// When each position was observed.
    times: Vec<Timestamp>,
}

/// Writes one response.
pub(super) struct Writer {
    format: Format,
    parameters: Parameters,
    span: (Timestamp, Timestamp),
    /// What is still to be read.
    bounds: TrackBounds,
    /// Points that may still be written.
    left: usize,
    reader: Reader,
    /// GeoJSON has the times behind the coordinates.
    times: Vec<Timestamp>,
    ended: bool,
}

impl Writer {
    pub(super) fn new(
        format: Format,
        parameters: Parameters,
        span: (Timestamp, Timestamp),
        bounds: TrackBounds,
        limit: usize,
        reader: Reader,
    ) -> Self {
        Self { format, parameters, span, bounds, left: limit, reader, times: Vec::new(), ended: false }
    }

    /// The beginning, with the first points.
    pub(super) async fn begin(&mut self) -> Result<Bytes, ReadError> {
        let (points, more) = self.read().await?;
        let is_line = points.len() > 1;
        let mut text = Vec::new();
        match self.format {
            Format::Json => {
                text.extend_from_slice(b"{\"vehicle_id\":");
                self.write_span(&mut text);
                text.extend_from_slice(b",\"points\":[");
            }
            Format::GeoJson => {
                text.extend_from_slice(b"{\"type\":\"Feature\",\"id\":");
                write_json(&self.bounds.vehicle_id, &mut text);
                text.extend_from_slice(match points.len() {
                    0 => b",\"geometry\":null",
                    1 => b",\"geometry\":{\"type\":\"Point\",\"coordinates\":",
                    _several => b",\"geometry\":{\"type\":\"LineString\",\"coordinates\":[",
                });
            }
        }
        self.write_points(&points, &mut text);
        if !more {
            self.end(points.last(), is_line, &mut text).await?;
        }
        Ok(Bytes::from(text))
    }

    /// The next points, or the end. `None` behind the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let (points, more) = self.read().await?;
        let mut text = Vec::new();
        if !points.is_empty() {
            text.push(b',');
        }
        self.write_points(&points, &mut text);
        if !more {
            self.end(points.last(), true, &mut text).await?;
        }
        Ok(Some(Bytes::from(text)))
    }

    /// The next points, and whether the response may go on behind them.
    async fn read(&mut self) -> Result<(Vec<TrackPoint>, bool), ReadError> {
        let wanted = self.left.min(POINTS_AT_A_TIME);
        let points = self.reader.page(&self.bounds, i64::try_from(wanted).unwrap_or(i64::MAX)).await?;
        self.left -= points.len().min(self.left);
        if let Some(last) = points.last() {
            (self.bounds.from, self.bounds.below) = (last.observed_at, last.event_id);
        }
        let more = points.len() == wanted && self.left > 0;
        Ok((points, more))
    }

    fn write_points(&mut self, points: &[TrackPoint], text: &mut Vec<u8>) {
        for (index, point) in points.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            match self.format {
                Format::Json => write_json(&PointView::from(point), text),
                Format::GeoJson => {
                    write_json(&[point.lon, point.lat], text);
                    self.times.push(point.observed_at);
                }
            }
        }
    }

    async fn end(
        &mut self,
        last: Option<&TrackPoint>,
        is_line: bool,
        text: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        // Whether anything follows the last point that may be written.
        let is_full = self.left == 0 && last.is_some();
        let has_more = is_full && !self.reader.page(&self.bounds, 1).await?.is_empty();
        let next = Cursor::Event(self.bounds.from, self.bounds.below);
        let after = has_more.then(|| next.encode(&self.parameters));
        match self.format {
            Format::Json => text.push(b']'),
            Format::GeoJson => {
                if is_line {
                    text.push(b']');
                }
                if !self.times.is_empty() {
                    text.push(b'}');
                }
                text.extend_from_slice(b",\"properties\":{\"vehicle_id\":");
                self.write_span(text);
                text.extend_from_slice(b",\"times\":");
                write_json(&std::mem::take(&mut self.times), text);
                text.push(b'}');
            }
        }
        text.extend_from_slice(b",\"after\":");
        write_json(&after, text);
        text.push(b'}');
        self.ended = true;
        Ok(())
    }

    fn write_span(&self, text: &mut Vec<u8>) {
        let (from, to) = self.span;
        write_json(&self.bounds.vehicle_id, text);
        for (name, at) in [("from", from), ("to", to)] {
            text.extend_from_slice(format!(",\"{name}\":\"{at}\"").as_bytes());
        }
    }
}

impl From<&TrackPoint> for PointView {
    fn from(point: &TrackPoint) -> Self {
        let TrackPoint { observed_at, received_at, lat, lon, speed_kmh, battery_percent, event_id: _ } =
            *point;
        Self { observed_at, received_at, lat, lon, speed_kmh, battery_percent }
    }
}
