//! A row of `vehicles`: how it is written and read. A new attribute adds one line to the list of columns here, and its
//! columns to a new version of the composite type [`ROW_TYPE`], by a migration.

use bytes::BytesMut;
use fleet_providers::{Attributes, Micros, Position, Timed};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::composite::{Composite, EncodeError, Field, is_composite};
use crate::timestamp::TimestampTz;

/// The composite type of a row. It is never altered, because consumers of the previous release use it during an upgrade: a
/// migration that adds columns creates another type.
pub(crate) const ROW_TYPE: &str = "vehicle_row_v6";

/// The columns of the position, without its times.
pub(crate) const POSITION: [&str; 5] = ["lat", "lon", "altitude_m", "heading_deg", "accuracy_m"];

/// The columns of an attribute other than the position.
pub(crate) struct AttributeColumns {
    /// The value. It has the name of the attribute.
    pub(crate) value: &'static str,
    /// When the value was observed.
    pub(crate) at: &'static str,
    /// When the value was received.
    pub(crate) received_at: &'static str,
}

/// The state of one vehicle after a batch: for each attribute the greatest (time, receipt, value) of the batch's
/// events.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleState<'a> {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own id.
    pub provider_vehicle_id: &'a str,
    /// The attributes.
    pub attributes: Attributes,
    /// The time of the earliest receipt.
    pub first_seen_at: Timestamp,
    /// The time of the latest receipt.
    pub last_seen_at: Timestamp,
    /// The latest receipt of an event with a time that is impossible or unreadable.
    pub clock_skewed_at: Option<Timestamp>,
}

/// A row of `vehicles`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVehicle {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own id.
    pub provider_vehicle_id: String,
    /// The attributes. An attribute without a value or a time is absent.
    pub attributes: Attributes,
    /// The time of the earliest receipt.
    pub first_seen_at: Timestamp,
    /// The time of the latest receipt.
    pub last_seen_at: Timestamp,
    /// The latest receipt of an event with a time that is impossible or unreadable.
    pub clock_skewed_at: Option<Timestamp>,
}

impl StoredVehicle {
    /// The same state, borrowing the vehicle's id.
    pub fn state(&self) -> VehicleState<'_> {
        VehicleState {
            vehicle_id: self.vehicle_id,
            provider_vehicle_id: &self.provider_vehicle_id,
            attributes: self.attributes,
            first_seen_at: self.first_seen_at,
            last_seen_at: self.last_seen_at,
            clock_skewed_at: self.clock_skewed_at,
        }
    }
}

impl From<&VehicleState<'_>> for StoredVehicle {
    fn from(state: &VehicleState<'_>) -> Self {
        Self {
            vehicle_id: state.vehicle_id,
            provider_vehicle_id: state.provider_vehicle_id.to_owned(),
            attributes: state.attributes,
            first_seen_at: state.first_seen_at,
            last_seen_at: state.last_seen_at,
            clock_skewed_at: state.clock_skewed_at,
        }
    }
}

macro_rules! columns {
    ($($value:ident $kind:ident at $at:ident received $received_at:ident,)+) => {
        /// Every attribute other than the position.
        pub(crate) const ATTRIBUTES: &[AttributeColumns] = &[$(AttributeColumns {
            value: stringify!($value),
            at: stringify!($at),
            received_at: stringify!($received_at),
        },)+];

        /// The fields of [`ROW_TYPE`], in its order. They are columns of `vehicles`.
        pub(crate) static FIELDS: &[Field] = &[
            ("vehicle_id", Type::UUID),
            ("provider_vehicle_id", Type::TEXT),
            ("lat", Type::FLOAT8),
            ("lon", Type::FLOAT8),
            ("altitude_m", Type::FLOAT8),
            ("heading_deg", Type::FLOAT8),
            ("accuracy_m", Type::FLOAT8),
            ("position_at", Type::TIMESTAMPTZ),
            ("position_received_at", Type::TIMESTAMPTZ),
            $((stringify!($value), Type::$kind),
            (stringify!($at), Type::TIMESTAMPTZ),
            (stringify!($received_at), Type::TIMESTAMPTZ),)+
            ("first_seen_at", Type::TIMESTAMPTZ),
            ("last_seen_at", Type::TIMESTAMPTZ),
            ("clock_skewed_at", Type::TIMESTAMPTZ),
        ];

        fn push_attributes(row: &mut Composite<'_>, attributes: &Attributes) -> Result<(), EncodeError> {
            let Attributes { position, $($value),+ } = *attributes;
            push_position(row, position)?;
            $(push_timed(row, $value)?;)+
            Ok(())
        }

        fn read_attributes(row: &Row) -> Attributes {
            Attributes {
                position: read_position(row),
                $($value: read_timed(row, stringify!($value), [stringify!($at), stringify!($received_at)]),)+
            }
        }
    };
}

// Attribute, PostgreSQL type, column of its time, column of its receipt.
columns! {
    speed_kmh FLOAT8 at speed_at received speed_received_at,
    battery_percent FLOAT8 at battery_at received battery_received_at,
    range_m INT4 at range_at received range_received_at,
    odometer_m INT4 at odometer_at received odometer_received_at,
    powered_on BOOL at powered_on_at received powered_on_received_at,
    locked BOOL at locked_at received locked_received_at,
    charging BOOL at charging_at received charging_received_at,
    online BOOL at online_at received online_received_at,
    driving_enabled BOOL at driving_enabled_at received driving_enabled_received_at,
}

impl ToSql for VehicleState<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        let mut row = Composite::new(FIELDS, out);
        row.push(&self.vehicle_id)?;
        row.push(&self.provider_vehicle_id)?;
        push_attributes(&mut row, &self.attributes)?;
        row.push(&TimestampTz::from(self.first_seen_at))?;
        row.push(&TimestampTz::from(self.last_seen_at))?;
        row.push(&self.clock_skewed_at.map(TimestampTz::from))?;
        row.end()
    }

    fn accepts(ty: &Type) -> bool {
        is_composite(ty, FIELDS)
    }

    to_sql_checked!();
}

fn push_position(row: &mut Composite<'_>, position: Option<Timed<Position>>) -> Result<(), EncodeError> {
    let (position, times) = parts(position);
    row.push(&position.map(|position| position.lat))?;
    row.push(&position.map(|position| position.lon))?;
    row.push(&position.and_then(|position| position.altitude_m))?;
    row.push(&position.and_then(|position| position.heading_deg))?;
    row.push(&position.and_then(|position| position.accuracy_m))?;
    push_times(row, times)
}

fn push_timed(row: &mut Composite<'_>, timed: Option<Timed<impl ToSql>>) -> Result<(), EncodeError> {
    let (value, times) = parts(timed);
    row.push(&value)?;
    push_times(row, times)
}

/// When a value was observed, and when it was received.
type Times = (TimestampTz, TimestampTz);

fn parts<T>(timed: Option<Timed<T>>) -> (Option<T>, Option<Times>) {
    timed.map(|Timed { value, at, received_at }| (value, (at.into(), received_at.into()))).unzip()
}

fn push_times(row: &mut Composite<'_>, times: Option<Times>) -> Result<(), EncodeError> {
    let (at, received_at) = times.unzip();
    row.push(&at)?;
    row.push(&received_at)
}

impl From<&Row> for StoredVehicle {
    fn from(row: &Row) -> Self {
        Self {
            vehicle_id: row.get("vehicle_id"),
            provider_vehicle_id: row.get("provider_vehicle_id"),
            attributes: read_attributes(row),
            first_seen_at: row.get("first_seen_at"),
            last_seen_at: row.get("last_seen_at"),
            clock_skewed_at: row.get("clock_skewed_at"),
        }
    }
}

fn read_timed<'a, T: FromSql<'a>>(row: &'a Row, value: &str, times: [&str; 2]) -> Option<Timed<T>> {
    let value: Option<T> = row.get(value);
    at(row, value?, times)
}

/// A value that was stored before receipts were recorded counts as received first.
fn at<T>(row: &Row, value: T, [at, received_at]: [&str; 2]) -> Option<Timed<T>> {
    let (at, received_at): (Option<Timestamp>, Option<Timestamp>) = (row.get(at), row.get(received_at));
    Some(Timed { value, at: at?.into(), received_at: received_at.map_or(Micros::MIN, Micros::from) })
}

fn read_position(row: &Row) -> Option<Timed<Position>> {
    let (lat, lon): (Option<f64>, Option<f64>) = (row.get("lat"), row.get("lon"));
    let value = Position {
        lat: lat?,
        lon: lon?,
        altitude_m: row.get("altitude_m"),
        heading_deg: row.get("heading_deg"),
        accuracy_m: row.get("accuracy_m"),
    };
    at(row, value, ["position_at", "position_received_at"])
}
