//! Reading telemetry in pages and correcting its columns, for `fleet-consumer replay`.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::{Derived, EventKey, StoreError, TelemetryStore};

const TELEMETRY_PAGE: &str = include_str!("../sql/telemetry_page.sql");
const CORRECT_TELEMETRY: &str = include_str!("../sql/correct_telemetry.sql");

/// The chunks that hold rows of a range, newest first, each cut to the range.
const WINDOWS: &str = "SELECT greatest(range_start, $1), least(range_end, $2)
   FROM timescaledb_information.chunks
  WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = 'telemetry'::regclass
    AND range_end > $1 AND range_start < $2
  ORDER BY range_start DESC";

/// A piece of telemetry within one chunk: observed at `from` or later, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment of the window.
    pub from: Timestamp,
    /// The first moment after the window.
    pub to: Timestamp,
}

/// A row of telemetry with what is needed to parse its event again.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTelemetry {
    /// Its key.
    pub key: EventKey,
    /// When the event was received.
    pub received_at: Timestamp,
    /// The message's id.
    pub message_id: Uuid,
    /// Slug of the provider.
    pub provider: String,
    /// The message's topic.
    pub topic: String,
    /// What the parser made of it.
    pub derived: Derived,
    /// The event as JSON text. Absent in rows of providers that were not asked for.
    pub raw: Option<String>,
}

/// The bounds of one page.
#[derive(Clone, Copy, Debug)]
pub struct PageBounds {
    /// Rows.
    pub rows: i64,
    /// Bytes of raw events, before the last row.
    pub bytes: i64,
}

/// New values for a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// Which row.
    pub key: EventKey,
    /// Its new values.
    pub derived: Derived,
}

impl TelemetryStore {
    /// The windows, newest first, that hold all telemetry observed from `from` to before `to`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn windows(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Window>, StoreError> {
        let rows = self.database().query(WINDOWS, &[&from, &to]).await?;
        Ok(rows.iter().map(|row| Window { from: row.get(0), to: row.get(1) }).collect())
    }

    /// The next rows after `after` in the order of their keys. Empty at the end of the window.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(
        &self,
        window: Window,
        after: Option<EventKey>,
        provider: Option<&str>,
        bounds: PageBounds,
    ) -> Result<Vec<StoredTelemetry>, StoreError> {
        let first = EventKey { vehicle_id: Uuid::nil(), observed_at: window.from, event_id: Uuid::max() };
        let after = after.unwrap_or(first);
        let parameters: [(&(dyn ToSql + Sync), Type); 8] = [
            (&after.vehicle_id, Type::UUID),
            (&after.observed_at, Type::TIMESTAMPTZ),
            (&after.event_id, Type::UUID),
            (&window.from, Type::TIMESTAMPTZ),
            (&window.to, Type::TIMESTAMPTZ),
            (&bounds.rows, Type::INT8),
            (&bounds.bytes, Type::INT8),
            (&provider, Type::TEXT),
        ];
        Ok(self.database().query_by_index(TELEMETRY_PAGE, &parameters).await?.iter().map(stored).collect())
    }

    /// Corrects rows of one window.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. No row is corrected then, unless only the response was lost.
    pub async fn correct(&self, window: Window, corrections: &[Correction]) -> Result<(), StoreError> {
        let vehicle_id: Vec<_> = corrections.iter().map(|row| row.key.vehicle_id).collect();
        let observed_at: Vec<_> = corrections.iter().map(|row| row.key.observed_at).collect();
        let event_id: Vec<_> = corrections.iter().map(|row| row.key.event_id).collect();
        let lat: Vec<_> = corrections.iter().map(|row| row.derived.lat).collect();
        let lon: Vec<_> = corrections.iter().map(|row| row.derived.lon).collect();
        let speed_kmh: Vec<_> = corrections.iter().map(|row| row.derived.speed_kmh).collect();
        let battery_percent: Vec<_> = corrections.iter().map(|row| row.derived.battery_percent).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
            (&vehicle_id, Type::UUID_ARRAY),
            (&observed_at, Type::TIMESTAMPTZ_ARRAY),
            (&event_id, Type::UUID_ARRAY),
            (&lat, Type::FLOAT8_ARRAY),
            (&lon, Type::FLOAT8_ARRAY),
            (&speed_kmh, Type::FLOAT8_ARRAY),
            (&battery_percent, Type::FLOAT8_ARRAY),
            (&window.from, Type::TIMESTAMPTZ),
            (&window.to, Type::TIMESTAMPTZ),
        ];
        self.database().query_by_index(CORRECT_TELEMETRY, &parameters).await?;
        Ok(())
    }
}

fn stored(row: &Row) -> StoredTelemetry {
    StoredTelemetry {
        key: EventKey { vehicle_id: row.get(0), observed_at: row.get(1), event_id: row.get(2) },
        received_at: row.get(3),
        message_id: row.get(4),
        provider: row.get(5),
        topic: row.get(6),
        derived: Derived {
            lat: row.get(7),
            lon: row.get(8),
            speed_kmh: row.get(9),
            battery_percent: row.get(10),
        },
        raw: row.get(11),
    }
}
