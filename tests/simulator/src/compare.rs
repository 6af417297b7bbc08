//! Compares every vehicle's row with the model, by SQL.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::Database;
use crate::error::Error;
use crate::model::{Expected, Fix, Latest};
use crate::record::{Acknowledged, Record};
use crate::vehicle::{Provider, Role, Vehicle};

/// An attribute of a vehicle whose value is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The provider's name for the vehicle.
    pub provider_vehicle_id: String,
    /// The column, or `row` if the vehicle's row is missing or must not exist.
    pub attribute: String,
    /// The expected value, with its time.
    pub expected: String,
    /// The value in the database, with its time.
    pub found: String,
}

impl Mismatch {
    /// The provider's name for the vehicle.
    pub fn vehicle(&self) -> &str {
        &self.provider_vehicle_id
    }
}

type Pair<'a> = (&'a Vehicle, &'a Acknowledged);

/// Compares all vehicles. The result is empty if everything agrees.
///
/// # Errors
///
/// Same as [`Database::query`].
pub async fn compare(
    state: &mut Database,
    fleet: &[Vehicle],
    record: &Record,
) -> Result<Vec<Mismatch>, Error> {
    let mut mismatches = Vec::new();
    for provider in Provider::ALL {
        let pairs = fleet.iter().zip(&record.vehicles).filter(|(vehicle, _)| vehicle.provider == provider);
        let all: Vec<Pair<'_>> = pairs.collect();
        mismatches.extend(rows(state, provider, &all).await?);
        mismatches.extend(clocks(state, provider, &all).await?);
        mismatches.extend(positions(state, provider, &all).await?);
        mismatches.extend(attributes(state, provider, &all).await?);
    }
    Ok(mismatches)
}

fn ids<'a>(pairs: &[Pair<'a>]) -> Vec<&'a str> {
    pairs.iter().map(|(vehicle, _)| vehicle.id.as_str()).collect()
}

async fn mismatches(
    state: &mut Database,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Mismatch>, Error> {
    let to_mismatch = |row: &Row| Mismatch {
        provider_vehicle_id: row.get(0),
        attribute: row.get(1),
        expected: row.get(2),
        found: row.get(3),
    };
    Ok(state.query(sql, params).await?.iter().map(to_mismatch).collect())
}

/// A vehicle with an acknowledged event must have one row, any other vehicle none.
async fn rows(state: &mut Database, provider: Provider, all: &[Pair<'_>]) -> Result<Vec<Mismatch>, Error> {
    let wanted: Vec<i64> = all.iter().map(|(_, sent)| i64::from(sent.events > 0)).collect();
    let sql = "SELECT e.id, 'row', e.wanted::text, count(v.vehicle_id)::text
        FROM unnest($2::text[], $3::int8[]) AS e (id, wanted)
        LEFT JOIN vehicles v ON v.provider = $1 AND v.provider_vehicle_id = e.id
        GROUP BY e.id, e.wanted HAVING count(v.vehicle_id) <> e.wanted";
    mismatches(state, sql, &[&provider.slug(), &ids(all), &wanted]).await
}

/// Only skewed clocks may be marked as such, and their times must be the API's own. `first seen` must not be
/// later than `last seen`.
async fn clocks(state: &mut Database, provider: Provider, all: &[Pair<'_>]) -> Result<Vec<Mismatch>, Error> {
    let skewed: Vec<bool> = all.iter().map(|(vehicle, _)| vehicle.role == Role::Skewed).collect();
    let sql = "SELECT e.id, 'clock_skewed_at', CASE WHEN e.skewed THEN 'a time' ELSE 'null' END,
            format('%s (position_at %s, first seen %s, last seen %s)', coalesce(v.clock_skewed_at::text, 'null'),
                v.position_at, v.first_seen_at, v.last_seen_at)
        FROM unnest($2::text[], $3::bool[]) AS e (id, skewed)
        JOIN vehicles v ON v.provider = $1 AND v.provider_vehicle_id = e.id
        WHERE e.skewed IS DISTINCT FROM (v.clock_skewed_at IS NOT NULL)
            OR (e.skewed AND v.position_at > v.last_seen_at)
            OR (v.first_seen_at <= v.last_seen_at) IS NOT TRUE";
    mismatches(state, sql, &[&provider.slug(), &ids(all), &skewed]).await
}

async fn positions(
    state: &mut Database,
    provider: Provider,
    all: &[Pair<'_>],
) -> Result<Vec<Mismatch>, Error> {
    let fix = |part: fn(&Fix) -> Option<f64>| -> Vec<Option<f64>> {
        all.iter().map(|(_, sent)| sent.expected.position.and_then(|(_, fix)| part(&fix))).collect()
    };
    let at: Vec<Option<Timestamp>> = all.iter().map(|(_, sent)| time(sent.expected.position)).collect();
    let sql = "SELECT e.id, 'position',
            format('(%s, %s, %s, %s, %s) at %s', e.lat, e.lon, e.altitude, e.heading, e.accuracy, e.at),
            format('(%s, %s, %s, %s, %s) at %s', v.lat, v.lon, v.altitude_m, v.heading_deg, v.accuracy_m,
                v.position_at)
        FROM unnest($2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[],
            $8::timestamptz[]) AS e (id, lat, lon, altitude, heading, accuracy, at)
        JOIN vehicles v ON v.provider = $1 AND v.provider_vehicle_id = e.id
        WHERE (v.lat, v.lon, v.altitude_m, v.heading_deg, v.accuracy_m, v.position_at)
            IS DISTINCT FROM (e.lat, e.lon, e.altitude, e.heading, e.accuracy, e.at)";
    let (lat, lon) = (fix(|fix| Some(fix.lat)), fix(|fix| Some(fix.lon)));
    let (altitude, heading) = (fix(|fix| fix.altitude_m), fix(|fix| fix.heading_deg));
    let accuracy = fix(|fix| fix.accuracy_m);
    let slug = provider.slug();
    mismatches(state, sql, &[&slug, &ids(all), &lat, &lon, &altitude, &heading, &accuracy, &at]).await
}

async fn attributes(
    state: &mut Database,
    provider: Provider,
    all: &[Pair<'_>],
) -> Result<Vec<Mismatch>, Error> {
    let mut found = attribute(state, provider, all, SPEED, |row| row.speed_kmh).await?;
    found.extend(attribute(state, provider, all, BATTERY, |row| row.battery_percent).await?);
    found.extend(attribute(state, provider, all, RANGE, |row| row.range_m).await?);
    found.extend(attribute(state, provider, all, ODOMETER, |row| row.odometer_m).await?);
    found.extend(attribute(state, provider, all, POWERED_ON, |row| row.powered_on).await?);
    found.extend(attribute(state, provider, all, LOCKED, |row| row.locked).await?);
    found.extend(attribute(state, provider, all, CHARGING, |row| row.charging).await?);
    found.extend(attribute(state, provider, all, ONLINE, |row| row.online).await?);
    found.extend(attribute(state, provider, all, DRIVING_ENABLED, |row| row.driving_enabled).await?);
    Ok(found)
}

/// The value's column, the column of its time, and the type.
type Column = (&'static str, &'static str, &'static str);

const SPEED: Column = ("speed_kmh", "speed_at", "float8");
const BATTERY: Column = ("battery_percent", "battery_at", "float8");
const RANGE: Column = ("range_m", "range_at", "int4");
const ODOMETER: Column = ("odometer_m", "odometer_at", "int4");
const POWERED_ON: Column = ("powered_on", "powered_on_at", "bool");
const LOCKED: Column = ("locked", "locked_at", "bool");
const CHARGING: Column = ("charging", "charging_at", "bool");
const ONLINE: Column = ("online", "online_at", "bool");
const DRIVING_ENABLED: Column = ("driving_enabled", "driving_enabled_at", "bool");

async fn attribute<T: ToSql + Sync>(
    state: &mut Database,
    provider: Provider,
    all: &[Pair<'_>],
    (value_column, at_column, type_name): Column,
    of: fn(&Expected) -> Latest<T>,
) -> Result<Vec<Mismatch>, Error> {
    let at: Vec<Option<Timestamp>> = all.iter().map(|(_, sent)| time(of(&sent.expected))).collect();
    let values: Vec<Option<T>> =
        all.iter().map(|(_, sent)| of(&sent.expected).map(|(_, value)| value)).collect();
    let sql = format!(
        "SELECT e.id, '{value_column}', format('%s at %s', e.value, e.at), format('%s at %s', v.{value_column}, v.{at_column})
        FROM unnest($2::text[], $3::{type_name}[], $4::timestamptz[]) AS e (id, value, at)
        JOIN vehicles v ON v.provider = $1 AND v.provider_vehicle_id = e.id
        WHERE (v.{value_column}, v.{at_column}) IS DISTINCT FROM (e.value, e.at)"
    );
    mismatches(state, &sql, &[&provider.slug(), &ids(all), &values, &at]).await
}

fn time<T>(latest: Latest<T>) -> Option<Timestamp> {
    latest.and_then(|(moment, _)| Timestamp::from_millisecond(moment.at_ms).ok())
}
