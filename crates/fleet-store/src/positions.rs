//! Reads where a vehicle was.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::{Database, StoreError};

/// The order is that of the index on a vehicle's events, backwards. The second condition repeats the time, because only a plain
/// comparison excludes chunks.
const PAGE: &str = "SELECT observed_at, event_id, lat, lon, speed_kmh, battery_percent, received_at
       FROM telemetry
      WHERE vehicle_id = $1 AND observed_at >= $2 AND observed_at < $3
        AND (observed_at > $2 OR event_id < $4)
        AND lat IS NOT NULL AND lon IS NOT NULL
      ORDER BY observed_at, event_id DESC LIMIT $5";

/// Where a vehicle was at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackPoint {
    /// When the report was observed. Its position may be older.
    pub observed_at: Timestamp,
    /// The event.
    pub event_id: Uuid,
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// Kilometres an hour.
    pub speed_kmh: Option<f64>,
    /// Percent.
    pub battery_percent: Option<f64>,
    /// When the report was received.
    pub received_at: Timestamp,
}

/// Which part of a track to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackBounds {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The earliest time.
    pub from: Timestamp,
    /// Of the events at `from`, only those with a smaller id are read. [`Uuid::max`] means all of them, because no event has that
    /// id.
    pub below: Uuid,
    /// The time after the latest one.
    pub to: Timestamp,
}

/// Reads tracks.
#[derive(Clone, Debug)]
pub struct TrackStore {
    database: Database,
}

impl TrackStore {
    /// Reads in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The first `limit` points within the bounds, from the oldest to the newest.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(&self, bounds: &TrackBounds, limit: i64) -> Result<Vec<TrackPoint>, StoreError> {
        let TrackBounds { vehicle_id, from, below, to } = bounds;
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (vehicle_id, Type::UUID),
            (from, Type::TIMESTAMPTZ),
            (to, Type::TIMESTAMPTZ),
            (below, Type::UUID),
            (&limit, Type::INT8),
        ];
        let rows = self.database.query_by_index(PAGE, &parameters).await?;
        Ok(rows.iter().map(point).collect())
    }
}

fn point(row: &Row) -> TrackPoint {
    TrackPoint {
        observed_at: row.get(0),
        event_id: row.get(1),
        lat: row.get(2),
        lon: row.get(3),
        speed_kmh: row.get(4),
        battery_percent: row.get(5),
        received_at: row.get(6),
    }
}
