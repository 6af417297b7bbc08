//! A row of telemetry: its key, the columns that a parser fills, and how it is written.

use bytes::BytesMut;
use fleet_failpoints::Failpoint;
use fleet_providers::{Attributes, VehicleEvent};
use jiff::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::composite::{Composite, EncodeError, Field, is_composite};
use crate::timestamp::TimestampTz;

/// The unique key of a row of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// See [`fleet_providers::VehicleEvent::event_id`].
    pub event_id: Uuid,
}

/// The columns of telemetry that a parser fills, other than the key.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Derived {
    /// Degrees.
    pub lat: Option<f64>,
    /// Degrees.
    pub lon: Option<f64>,
    /// Kilometres per hour.
    pub speed_kmh: Option<f64>,
    /// Percent, 0 to 100.
    pub battery_percent: Option<f64>,
}

impl From<&Attributes> for Derived {
    fn from(attributes: &Attributes) -> Self {
        let position = attributes.position.map(|position| position.value);
        Self {
            lat: position.map(|position| position.lat),
            lon: position.map(|position| position.lon),
            speed_kmh: attributes.speed_kmh.map(|speed| speed.value),
            battery_percent: attributes.battery_percent.map(|battery| battery.value),
        }
    }
}

/// One event and the message it came in.
#[derive(Clone, Copy, Debug)]
pub struct TelemetryRow<'a> {
    /// The event.
    pub event: &'a VehicleEvent<'a>,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's topic.
    pub topic: &'a str,
}

/// The fields of the composite type `telemetry_row`. They are columns of `telemetry`.
static FIELDS: [Field; 12] = [
    ("vehicle_id", Type::UUID),
    ("observed_at", Type::TIMESTAMPTZ),
    ("event_id", Type::UUID),
    ("received_at", Type::TIMESTAMPTZ),
    ("message_id", Type::UUID),
    ("topic", Type::TEXT),
    ("kind", Type::TEXT),
    ("lat", Type::FLOAT8),
    ("lon", Type::FLOAT8),
    ("speed_kmh", Type::FLOAT8),
    ("battery_percent", Type::FLOAT8),
    ("raw", Type::JSON),
];

impl ToSql for TelemetryRow<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        let derived = Derived::from(&self.event.attributes);
        let mut row = Composite::new(&FIELDS, out);
        row.push(&self.event.vehicle_id)?;
        row.push(&TimestampTz::from(self.event.observed_at))?;
        row.push(&event_id(self))?;
        row.push(&TimestampTz::from(self.event.received_at))?;
        row.push(&self.message_id)?;
        row.push(&self.topic)?;
        row.push(&&*self.event.kind)?;
        row.push(&derived.lat)?;
        row.push(&derived.lon)?;
        row.push(&derived.speed_kmh)?;
        row.push(&derived.battery_percent)?;
        row.push(&&*self.event.raw)?;
        row.end()
    }

    fn accepts(ty: &Type) -> bool {
        is_composite(ty, &FIELDS)
    }

    to_sql_checked!();
}

fn event_id(row: &TelemetryRow<'_>) -> Uuid {
    if Failpoint::NoDedupe.is_active() { Uuid::now_v7() } else { row.event.event_id }
}
