//! The current state of every vehicle.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::BytesMut;
use fleet_failpoints::Failpoint;
use fleet_providers::{Attributes, Position, Timed};
use jiff::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::composite::{Composite, EncodeError, Field, is_composite};
use crate::deletion::count;
use crate::settled::SETTLED_STATE_PARTS;
use crate::timestamp::Micros;
use crate::{Database, Part, StoreError};

/// What a batch says about one vehicle: each attribute the greatest (time, receipt, value) of its events.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleState<'a> {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own id.
    pub provider_vehicle_id: &'a str,
    /// The attributes.
    pub attributes: Attributes,
    /// The earliest receipt.
    pub first_seen_at: Timestamp,
    /// The latest receipt.
    pub last_seen_at: Timestamp,
    /// The latest receipt of an event with a time that is not believed.
    pub clock_skewed_at: Option<Timestamp>,
}

/// Fields of the composite type `received_vehicle_state`; they are columns of `vehicles`.
static FIELDS: [Field; 36] = [
    ("vehicle_id", Type::UUID),
    ("provider_vehicle_id", Type::TEXT),
    ("lat", Type::FLOAT8),
    ("lon", Type::FLOAT8),
    ("altitude_m", Type::FLOAT8),
    ("heading_deg", Type::FLOAT8),
    ("accuracy_m", Type::FLOAT8),
    ("position_at", Type::TIMESTAMPTZ),
    ("position_received_at", Type::TIMESTAMPTZ),
    ("speed_kmh", Type::FLOAT8),
    ("speed_at", Type::TIMESTAMPTZ),
    ("speed_received_at", Type::TIMESTAMPTZ),
    ("battery_percent", Type::FLOAT8),
    ("battery_at", Type::TIMESTAMPTZ),
    ("battery_received_at", Type::TIMESTAMPTZ),
    ("range_m", Type::INT4),
    ("range_at", Type::TIMESTAMPTZ),
    ("range_received_at", Type::TIMESTAMPTZ),
    ("odometer_m", Type::INT4),
    ("odometer_at", Type::TIMESTAMPTZ),
    ("odometer_received_at", Type::TIMESTAMPTZ),
    ("powered_on", Type::BOOL),
    ("powered_on_at", Type::TIMESTAMPTZ),
    ("powered_on_received_at", Type::TIMESTAMPTZ),
    ("locked", Type::BOOL),
    ("locked_at", Type::TIMESTAMPTZ),
    ("locked_received_at", Type::TIMESTAMPTZ),
    ("charging", Type::BOOL),
    ("charging_at", Type::TIMESTAMPTZ),
    ("charging_received_at", Type::TIMESTAMPTZ),
    ("online", Type::BOOL),
    ("online_at", Type::TIMESTAMPTZ),
    ("online_received_at", Type::TIMESTAMPTZ),
    ("first_seen_at", Type::TIMESTAMPTZ),
    ("last_seen_at", Type::TIMESTAMPTZ),
    ("clock_skewed_at", Type::TIMESTAMPTZ),
];

/// Columns of one attribute, of its time and of its receipt, beside the position.
const ATTRIBUTES: [(&str, &str, &str); 8] = [
    ("speed_kmh", "speed_at", "speed_received_at"),
    ("battery_percent", "battery_at", "battery_received_at"),
    ("range_m", "range_at", "range_received_at"),
    ("odometer_m", "odometer_at", "odometer_received_at"),
    ("powered_on", "powered_on_at", "powered_on_received_at"),
    ("locked", "locked_at", "locked_received_at"),
    ("charging", "charging_at", "charging_received_at"),
    ("online", "online_at", "online_received_at"),
];

impl ToSql for VehicleState<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        let mut row = Composite::new(&FIELDS, out);
        row.push(&self.vehicle_id)?;
        row.push(&self.provider_vehicle_id)?;
        let attributes = &self.attributes;
        push_position(&mut row, attributes.position)?;
        push_timed(&mut row, attributes.speed_kmh)?;
        push_timed(&mut row, attributes.battery_percent)?;
        push_timed(&mut row, attributes.range_m)?;
        push_timed(&mut row, attributes.odometer_m)?;
        push_timed(&mut row, attributes.powered_on)?;
        push_timed(&mut row, attributes.locked)?;
        push_timed(&mut row, attributes.charging)?;
        push_timed(&mut row, attributes.online)?;
        row.push(&Micros::from(self.first_seen_at))?;
        row.push(&Micros::from(self.last_seen_at))?;
        row.push(&self.clock_skewed_at.map(Micros::from))?;
        row.end()
    }

    fn accepts(ty: &Type) -> bool {
        is_composite(ty, &FIELDS)
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
type Times = (Micros, Micros);

fn parts<T>(timed: Option<Timed<T>>) -> (Option<T>, Option<Times>) {
    timed.map(|Timed { value, at, received_at }| (value, (at.into(), received_at.into()))).unzip()
}

fn push_times(row: &mut Composite<'_>, times: Option<Times>) -> Result<(), EncodeError> {
    let (at, received_at) = times.unzip();
    row.push(&at)?;
    row.push(&received_at)
}

/// Stores a part's vehicles and the memory of it, in one statement and so in one transaction and one round trip. Every
/// attribute becomes the greater of what is there and what comes, by (time, receipt, value). A maximum is commutative,
/// associative and idempotent: any order and any repetition of batches gives the same row. What was stored before receipts
/// were has none, and is less than any of the same time.
pub fn store_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(build_statement);
    &STATEMENT
}

/// Returns how many of the vehicles are new. A row that was inserted has no `xmax`; one that was updated has the transaction
/// that locked it, which is this one.
fn build_statement() -> String {
    format!(
        "WITH written AS (\n{}\nRETURNING v.xmax = 0 AS is_new\n),\n\
         settled AS (\n\
         INSERT INTO settled_state_batches (lease_id, first_record, records, provider, vehicles)\n\
         VALUES ($2, $3, $4, $1::text, $5)\nON CONFLICT DO NOTHING\n)\n\
         SELECT count(*) FILTER (WHERE is_new) FROM written",
        upsert(6)
    )
}

/// The same without a part, and so without any memory of it: for what came out of no queue.
pub fn raise_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(|| upsert(2));
    &STATEMENT
}

/// The vehicles are the parameter `vehicles`, the provider is the first.
fn upsert(vehicles: usize) -> String {
    let position = ["lat", "lon", "altitude_m", "heading_deg", "accuracy_m"];
    let mut updates: Vec<String> = Vec::new();
    let receipt = |row: &str, column: &str| format!("coalesce({row}.{column}, '-infinity')");
    // An absent altitude, heading or accuracy is less than any.
    let key = |row: &str| {
        let rest = ["altitude_m", "heading_deg", "accuracy_m"];
        let rest = rest.map(|column| format!("coalesce({row}.{column}, '-Infinity')")).join(", ");
        format!("({row}.position_at, {}, {row}.lat, {row}.lon, {rest})", receipt(row, "position_received_at"))
    };
    let newer = format!(
        "v.position_at IS NULL OR v.lat IS NULL OR v.lon IS NULL OR {} > {}",
        key("excluded"),
        key("v")
    );
    for column in position.into_iter().chain(["position_at", "position_received_at"]) {
        updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
    }
    for (value, at, received_at) in ATTRIBUTES {
        // A value that somebody has cleared to have it replayed is less than any, whatever its time still says.
        let newer = if Failpoint::ArrivalOrder.is_active() {
            format!("excluded.{at} IS NOT NULL")
        } else {
            format!(
                "v.{at} IS NULL OR v.{value} IS NULL OR \
                 (excluded.{at}, excluded.{received_at}, excluded.{value}) > (v.{at}, {}, v.{value})",
                receipt("v", received_at)
            )
        };
        for column in [value, at, received_at] {
            updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
        }
    }
    // least() and greatest() ignore nulls.
    updates.push("first_seen_at = least(v.first_seen_at, excluded.first_seen_at)".to_owned());
    updates.push("last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at)".to_owned());
    updates.push("clock_skewed_at = greatest(v.clock_skewed_at, excluded.clock_skewed_at)".to_owned());

    let names = FIELDS.iter().map(|(name, _type)| *name).collect::<Vec<_>>().join(", ");
    let updates = updates.join(",\n    ");
    format!(
        "INSERT INTO vehicles AS v (provider, {names})\n\
         SELECT $1::text, {names}\n  FROM unnest(${vehicles}::received_vehicle_state[])\n\
         ON CONFLICT (vehicle_id) DO UPDATE SET\n    {updates}"
    )
}

/// Which of these vehicles have no row.
pub const UNKNOWN_VEHICLES: &str = "SELECT vehicle_id FROM unnest($1::uuid[]) AS asked (vehicle_id)
      WHERE NOT EXISTS (SELECT FROM vehicles WHERE vehicles.vehicle_id = asked.vehicle_id)";

/// Writes the state.
#[derive(Clone, Debug)]
pub struct StateStore {
    database: Database,
}

impl StateStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The parts of a lease that are in the state already, as (first record, records).
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn settled(&self, lease_id: Uuid) -> Result<HashSet<(i32, i32)>, StoreError> {
        self.database.settled_parts(SETTLED_STATE_PARTS, lease_id).await
    }

    /// Stores a part's vehicles, at most one entry each, **sorted by `vehicle_id`**: two consumers that update the same
    /// vehicles in different orders would deadlock. Returns how many of them were not there before.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing of the part is stored, or the same call finds it stored.
    pub async fn write(&self, part: &Part<'_>, vehicles: &[VehicleState<'_>]) -> Result<u64, StoreError> {
        debug_assert!(
            Failpoint::UnsortedUpsert.is_active() || vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id),
            "vehicles must be sorted"
        );
        let written = i32::try_from(vehicles.len()).unwrap_or(i32::MAX);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&part.provider, &part.lease_id, &part.first_record, &part.records, &written, &vehicles];
        Ok(count(&self.database.query_one(store_state(), &parameters).await?))
    }

    /// Which of these vehicles are not there.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn unknown_vehicles(&self, vehicle_ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let rows = self.database.query(UNKNOWN_VEHICLES, &[&vehicle_ids]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Raises vehicles, at most one entry each and sorted as for [`StateStore::write`], without remembering any part:
    /// the audit, which adds up what the queues handed over, must not count it.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing is stored, unless the answer was lost.
    pub async fn raise(&self, provider: &str, vehicles: &[VehicleState<'_>]) -> Result<(), StoreError> {
        debug_assert!(vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id), "vehicles must be sorted");
        self.database.query(raise_state(), &[&provider, &vehicles]).await?;
        Ok(())
    }
}
