//! Reading telemetry in pages and correcting its columns, for `fleet-consumer replay`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::page::{Page, PageBounds, StoredTelemetry, Window};
use crate::{Derived, EventKey, PageCursor, StoreError, TelemetryStore};

const TELEMETRY_PAGE: &str = include_str!("../sql/telemetry_page.sql");
const CORRECT_TELEMETRY: &str = include_str!("../sql/correct_telemetry.sql");

/// The chunks that hold rows of a range, newest first, each cut to the range.
const WINDOWS: &str = "SELECT greatest(range_start, $1), least(range_end, $2)
   FROM timescaledb_information.chunks
  WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = 'telemetry'::regclass
    AND range_end > $1 AND range_start < $2
  ORDER BY range_start DESC";

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

    /// The rows after the cursor. They may be none although the cursor is not done: [`PageCursor::advance`] goes on.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(
        &self,
        cursor: &PageCursor,
        provider: Option<&str>,
        bounds: PageBounds,
    ) -> Result<Page, StoreError> {
        let (window, after, up_to) = (cursor.window(), cursor.after(), cursor.up_to());
        let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
            (&after.vehicle_id, Type::UUID),
            (&after.observed_at, Type::TIMESTAMPTZ),
            (&after.event_id, Type::UUID),
            (&window.from, Type::TIMESTAMPTZ),
            (&window.to, Type::TIMESTAMPTZ),
            (&bounds.rows, Type::INT8),
            (&bounds.bytes, Type::INT8),
            (&provider, Type::TEXT),
            (&up_to, Type::UUID),
        ];
        let rows = self.database().query_by_index(TELEMETRY_PAGE, &parameters).await?;
        let chosen: i64 = rows.first().map_or(0, |row| row.get(12));
        let is_cut = chosen >= bounds.rows || usize::try_from(chosen).is_ok_and(|chosen| chosen > rows.len());
        Ok(Page { rows: rows.iter().map(stored).collect(), is_cut })
    }

    /// Corrects rows of one page.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. No row is corrected then, unless only the response was lost.
    pub async fn correct(&self, corrections: &[Correction]) -> Result<(), StoreError> {
        let vehicles: BTreeSet<_> = corrections.iter().map(|row| row.key.vehicle_id).collect();
        let vehicles: Vec<_> = vehicles.into_iter().collect();
        let observed = || corrections.iter().map(|row| row.key.observed_at);
        let (first, last) = (observed().min(), observed().max());
        let vehicle_id: Vec<_> = corrections.iter().map(|row| row.key.vehicle_id).collect();
        let observed_at: Vec<_> = corrections.iter().map(|row| row.key.observed_at).collect();
        let event_id: Vec<_> = corrections.iter().map(|row| row.key.event_id).collect();
        let lat: Vec<_> = corrections.iter().map(|row| row.derived.lat).collect();
        let lon: Vec<_> = corrections.iter().map(|row| row.derived.lon).collect();
        let speed_kmh: Vec<_> = corrections.iter().map(|row| row.derived.speed_kmh).collect();
        let battery_percent: Vec<_> = corrections.iter().map(|row| row.derived.battery_percent).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 10] = [
            (&vehicle_id, Type::UUID_ARRAY),
            (&observed_at, Type::TIMESTAMPTZ_ARRAY),
            (&event_id, Type::UUID_ARRAY),
            (&lat, Type::FLOAT8_ARRAY),
            (&lon, Type::FLOAT8_ARRAY),
            (&speed_kmh, Type::FLOAT8_ARRAY),
            (&battery_percent, Type::FLOAT8_ARRAY),
            (&first, Type::TIMESTAMPTZ),
            (&last, Type::TIMESTAMPTZ),
            (&vehicles, Type::UUID_ARRAY),
        ];
        self.database().query_by_vehicle(CORRECT_TELEMETRY, &parameters).await?;
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
