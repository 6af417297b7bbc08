//! The current state of every vehicle.

use std::collections::HashSet;
use std::sync::LazyLock;

use fleet_planted::{Plant, is_planted};
use fleet_providers::{Attributes, Position, Timed};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::settled::{SETTLED_STATE_PARTS, settled_parts};
use crate::timestamp::Micros;
use crate::{Database, Part, StoreError};

/// What a batch says about one vehicle: each attribute the greatest (time, value) of its events.
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
    /// The latest receipt of an event whose clock was ahead.
    pub clock_skewed_at: Option<Timestamp>,
}

/// Attributes of one column and its time, in the order of the statement's parameters.
const ATTRIBUTES: [(&str, &str, &str); 8] = [
    ("speed_kmh", "float8", "speed_at"),
    ("battery_percent", "float8", "battery_at"),
    ("range_m", "int4", "range_at"),
    ("odometer_m", "int4", "odometer_at"),
    ("powered_on", "bool", "powered_on_at"),
    ("locked", "bool", "locked_at"),
    ("charging", "bool", "charging_at"),
    ("online", "bool", "online_at"),
];

/// Stores a part's vehicles and the memory of it, in one statement and so in one transaction and one round trip. Every attribute becomes the greater of what is there and what comes, by
/// (time, value). A maximum is commutative, associative and idempotent: any order and any repetition of batches gives
/// the same row.
pub fn store_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(build_statement);
    &STATEMENT
}

fn build_statement() -> String {
    format!(
        "WITH written AS (\n{}\n)\n\
         INSERT INTO settled_state_batches (lease_id, first_record, records, provider, vehicles)\n\
         VALUES ($2, $3, $4, $1::text, $5)\nON CONFLICT DO NOTHING",
        upsert(6)
    )
}

/// The same without a part, and so without any memory of it: for what came out of no queue.
pub fn raise_state() -> &'static str {
    static STATEMENT: LazyLock<String> = LazyLock::new(|| upsert(2));
    &STATEMENT
}

/// The rows of `vehicles`, whose columns are parameters from `first` on; the provider is the first of all.
fn upsert(first: usize) -> String {
    let position = ["lat", "lon", "altitude_m", "heading_deg", "accuracy_m"];
    let mut columns = vec![("vehicle_id", "uuid"), ("provider_vehicle_id", "text")];
    columns.extend(position.map(|column| (column, "float8")));
    columns.push(("position_at", "timestamptz"));
    for (value, kind, at) in ATTRIBUTES {
        columns.extend([(value, kind), (at, "timestamptz")]);
    }
    for column in ["first_seen_at", "last_seen_at", "clock_skewed_at"] {
        columns.push((column, "timestamptz"));
    }

    let mut updates: Vec<String> = Vec::new();
    // An absent altitude, heading or accuracy is less than any.
    let key = |row: &str| {
        let rest = ["altitude_m", "heading_deg", "accuracy_m"];
        let rest = rest.map(|column| format!("coalesce({row}.{column}, '-Infinity')")).join(", ");
        format!("({row}.position_at, {row}.lat, {row}.lon, {rest})")
    };
    let newer = format!(
        "v.position_at IS NULL OR v.lat IS NULL OR v.lon IS NULL OR {} > {}",
        key("excluded"),
        key("v")
    );
    for column in position.into_iter().chain(["position_at"]) {
        updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
    }
    for (value, _kind, at) in ATTRIBUTES {
        // A value that somebody has cleared to have it replayed is less than any, whatever its time still says.
        let newer = if is_planted(Plant::ArrivalOrder) {
            format!("excluded.{at} IS NOT NULL")
        } else {
            format!(
                "v.{at} IS NULL OR v.{value} IS NULL OR (excluded.{at}, excluded.{value}) > (v.{at}, v.{value})"
            )
        };
        for column in [value, at] {
            updates.push(format!("{column} = CASE WHEN {newer} THEN excluded.{column} ELSE v.{column} END"));
        }
    }
    // least() and greatest() ignore nulls.
    updates.push("first_seen_at = least(v.first_seen_at, excluded.first_seen_at)".to_owned());
    updates.push("last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at)".to_owned());
    updates.push("clock_skewed_at = greatest(v.clock_skewed_at, excluded.clock_skewed_at)".to_owned());

    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let arrays = columns.iter().enumerate().map(|(index, (_, kind))| format!("${}::{kind}[]", index + first));
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let updates = updates.join(",\n    ");
    format!(
        "INSERT INTO vehicles AS v (provider, {names})\n\
         SELECT $1::text, {names}\n  FROM unnest({arrays})\n       AS event ({names})\n\
         ON CONFLICT (vehicle_id) DO UPDATE SET\n    {updates}"
    )
}

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

    /// The parts of a lease that are in the state already, as (first record, records).
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn settled(&self, lease_id: Uuid) -> Result<HashSet<(i32, i32)>, StoreError> {
        settled_parts(&self.database, SETTLED_STATE_PARTS, lease_id).await
    }

    /// Stores a part's vehicles, at most one entry each, **sorted by `vehicle_id`**: two consumers that update the same
    /// vehicles in different orders would deadlock.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing of the part is stored, or the same call finds it stored.
    pub async fn write(&self, part: &Part<'_>, vehicles: &[VehicleState<'_>]) -> Result<(), StoreError> {
        debug_assert!(
            is_planted(Plant::UnsortedUpsert) || vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id),
            "vehicles must be sorted"
        );
        let columns = Columns::from_vehicles(vehicles);
        let count = i32::try_from(vehicles.len()).unwrap_or(i32::MAX);
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&part.provider, &part.lease_id, &part.first_record, &part.records, &count];
        columns.append_to(&mut parameters);
        self.database.query(store_state(), &parameters).await?;
        Ok(())
    }

    /// Raises vehicles, at most one entry each and sorted as for [`StateStore::write`], without remembering any part:
    /// the audit, which adds up what the queues handed over, must not count it.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing is stored, unless the answer was lost.
    pub async fn raise(&self, provider: &str, vehicles: &[VehicleState<'_>]) -> Result<(), StoreError> {
        debug_assert!(vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id), "vehicles must be sorted");
        let columns = Columns::from_vehicles(vehicles);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&provider];
        columns.append_to(&mut parameters);
        self.database.query(raise_state(), &parameters).await?;
        Ok(())
    }
}

/// The rows turned into arrays, a column each.
#[derive(Default)]
struct Columns<'a> {
    vehicle_id: Vec<Uuid>,
    provider_vehicle_id: Vec<&'a str>,
    position: [Vec<Option<f64>>; 5],
    position_at: Vec<Option<Micros>>,
    speed_kmh: TimedColumn<f64>,
    battery_percent: TimedColumn<f64>,
    range_m: TimedColumn<i32>,
    odometer_m: TimedColumn<i32>,
    powered_on: TimedColumn<bool>,
    locked: TimedColumn<bool>,
    charging: TimedColumn<bool>,
    online: TimedColumn<bool>,
    first_seen_at: Vec<Micros>,
    last_seen_at: Vec<Micros>,
    clock_skewed_at: Vec<Option<Micros>>,
}

#[derive(Default)]
struct TimedColumn<T> {
    value: Vec<Option<T>>,
    at: Vec<Option<Micros>>,
}

impl<T> TimedColumn<T> {
    fn push(&mut self, timed: Option<Timed<T>>) {
        let (value, at) = timed.map(|timed| (timed.value, timed.at)).unzip();
        self.value.push(value);
        self.at.push(at.map(Micros::from));
    }
}

impl<'a> Columns<'a> {
    fn from_vehicles(vehicles: &[VehicleState<'a>]) -> Self {
        let mut columns = Self::default();
        for vehicle in vehicles {
            let attributes = &vehicle.attributes;
            columns.vehicle_id.push(vehicle.vehicle_id);
            columns.provider_vehicle_id.push(vehicle.provider_vehicle_id);
            columns.push_position(attributes.position);
            columns.speed_kmh.push(attributes.speed_kmh);
            columns.battery_percent.push(attributes.battery_percent);
            columns.range_m.push(attributes.range_m);
            columns.odometer_m.push(attributes.odometer_m);
            columns.powered_on.push(attributes.powered_on);
            columns.locked.push(attributes.locked);
            columns.charging.push(attributes.charging);
            columns.online.push(attributes.online);
            columns.first_seen_at.push(vehicle.first_seen_at.into());
            columns.last_seen_at.push(vehicle.last_seen_at.into());
            columns.clock_skewed_at.push(vehicle.clock_skewed_at.map(Micros::from));
        }
        columns
    }

    fn push_position(&mut self, position: Option<Timed<Position>>) {
        let (position, at) = position.map(|timed| (timed.value, timed.at)).unzip();
        let [lat, lon, altitude_m, heading_deg, accuracy_m] = &mut self.position;
        lat.push(position.map(|position: Position| position.lat));
        lon.push(position.map(|position| position.lon));
        altitude_m.push(position.and_then(|position| position.altitude_m));
        heading_deg.push(position.and_then(|position| position.heading_deg));
        accuracy_m.push(position.and_then(|position| position.accuracy_m));
        self.position_at.push(at.map(Micros::from));
    }

    fn append_to<'b>(&'b self, parameters: &mut Vec<&'b (dyn ToSql + Sync)>) {
        let ids: [&'b (dyn ToSql + Sync); 2] = [&self.vehicle_id, &self.provider_vehicle_id];
        parameters.extend(ids);
        for column in &self.position {
            parameters.push(column);
        }
        parameters.push(&self.position_at);
        for column in [&self.speed_kmh, &self.battery_percent] {
            parameters.extend([&column.value as &(dyn ToSql + Sync), &column.at]);
        }
        for column in [&self.range_m, &self.odometer_m] {
            parameters.extend([&column.value as &(dyn ToSql + Sync), &column.at]);
        }
        for column in [&self.powered_on, &self.locked, &self.charging, &self.online] {
            parameters.extend([&column.value as &(dyn ToSql + Sync), &column.at]);
        }
        let seen: [&(dyn ToSql + Sync); 3] = [&self.first_seen_at, &self.last_seen_at, &self.clock_skewed_at];
        parameters.extend(seen);
    }
}
