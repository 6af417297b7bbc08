//! The reference for draining: one connection that inserts prepared rows and does nothing else.

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;
use crate::provider::{Provider, Status};
use crate::sql::Sql;
use crate::usage::{self, CpuMicros, Watched};

/// The product's columns, without vehicle state, dead letters, record of batches and counts.
const INSERT: &str = "
INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind,
                       lat, lon, speed_kmh, battery_percent, raw)
SELECT vehicle_id, observed_at, event_id, received_at, message_id, 'niu', '', 'status',
       lat, lon, speed_kmh, battery_percent, raw::json
  FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::uuid[],
              $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::text[])
       AS event (vehicle_id, observed_at, event_id, received_at, message_id,
                 lat, lon, speed_kmh, battery_percent, raw)
ON CONFLICT DO NOTHING";

/// The time between two rows of a vehicle.
const STEP_MS: i64 = 5_000;

/// The options of the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Insert {
    pub(crate) database_url: String,
    pub(crate) rows: u32,
    /// Rows in one statement. Each statement is a transaction.
    pub(crate) batch: u32,
    pub(crate) vehicles: u32,
    pub(crate) watched: Watched,
}

/// The result of the reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Inserted {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_micros: CpuMicros,
    /// The CPU time of the reference itself, without the preparation of the rows.
    pub(crate) own_cpu_micros: f64,
}

/// Rows as arrays, one for each column.
#[derive(Debug, Default)]
struct Batch {
    vehicle_id: Vec<Uuid>,
    observed_at: Vec<Timestamp>,
    id: Vec<Uuid>,
    received_at: Vec<Timestamp>,
    lat: Vec<f64>,
    lon: Vec<f64>,
    speed_kmh: Vec<f64>,
    battery_percent: Vec<f64>,
    raw: Vec<String>,
}

/// Prepares all rows, then inserts them.
pub(crate) fn run(insert: &Insert) -> Result<Inserted, Failure> {
    let batches = prepare(insert);
    let sql = Sql::connect(&insert.database_url)?;
    let statement = sql.prepare(INSERT)?;
    let before = (usage::cpu(&insert.watched)?, usage::own_cpu_micros()?);
    let started = Instant::now();
    let mut rows = 0;
    for batch in &batches {
        rows += sql.execute(
            &statement,
            &[
                &batch.vehicle_id,
                &batch.observed_at,
                &batch.id,
                &batch.received_at,
                &batch.id,
                &batch.lat,
                &batch.lon,
                &batch.speed_kmh,
                &batch.battery_percent,
                &batch.raw,
            ],
        )?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (after, own) = (usage::cpu(&insert.watched)?, usage::own_cpu_micros()?);
    let cpu_micros = usage::since(&before.0, &after);
    Ok(Inserted { rows, seconds, cpu_micros, own_cpu_micros: own - before.1 })
}

/// The rows in the order in which the product would claim them. Like the product's, each batch is sorted by
/// the table's key.
fn prepare(insert: &Insert) -> Vec<Batch> {
    let received_at = Timestamp::now();
    let start_ms = received_at.as_millisecond() - i64::from(insert.rows / insert.vehicles + 1) * STEP_MS;
    let starts = (0..insert.rows).step_by(insert.batch.max(1) as usize);
    let batch = |first: u32| {
        let mut statuses: Vec<_> = (first..insert.rows.min(first + insert.batch))
            .map(|index| {
                let at_ms = start_ms + i64::from(index / insert.vehicles) * STEP_MS;
                let status = Status { vehicle: index % insert.vehicles, at_ms };
                let id = Provider::Niu.vehicle_id(status.vehicle);
                (Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()), status)
            })
            .collect();
        statuses.sort_unstable_by_key(|(vehicle_id, status)| (*vehicle_id, status.at_ms));
        let mut batch = Batch::default();
        for (vehicle_id, status) in statuses {
            batch.vehicle_id.push(vehicle_id);
            batch.observed_at.push(Timestamp::from_millisecond(status.at_ms).unwrap_or(received_at));
            batch.id.push(Uuid::now_v7());
            batch.received_at.push(received_at);
            batch.lat.push(52.5);
            batch.lon.push(13.4);
            batch.speed_kmh.push(23.0);
            batch.battery_percent.push(68.0);
            batch.raw.push(Provider::Niu.body(status));
        }
        batch
    };
    starts.map(batch).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_row_conflicts_with_another() {
        let batches = prepare(&Insert {
            database_url: String::new(),
            rows: 2_500,
            batch: 1_000,
            vehicles: 400,
            watched: Watched::new(),
        });
        assert_eq!(batches.iter().map(|batch| batch.raw.len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        let keys: HashSet<_> =
            batches.iter().flat_map(|batch| batch.vehicle_id.iter().zip(&batch.observed_at)).collect();
        assert_eq!(keys.len(), 2_500);
        assert!(batches.iter().all(|batch| batch.vehicle_id.is_sorted()));
    }
}
