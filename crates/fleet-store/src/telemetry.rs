//! Raw events and dead letters.

use std::collections::{BTreeMap, HashSet};

use deadpool_postgres::{GenericClient, Transaction};
use fleet_providers::VehicleEvent;
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::settled::{SETTLED_TELEMETRY_PARTS, settled_parts};
use crate::{Database, Part, StoreError};

/// Appends events; an event that is there already is left alone.
pub const APPEND_TELEMETRY: &str = include_str!("../sql/append_telemetry.sql");
/// Adds dead letters, or to their attempts.
pub const BURY_DEAD_LETTERS: &str = include_str!("../sql/bury_dead_letters.sql");

/// One event and the message it came in.
#[derive(Clone, Copy, Debug)]
pub struct TelemetryRow<'a> {
    /// The event.
    pub event: &'a VehicleEvent<'a>,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's topic.
    pub topic: &'a str,
    /// When the message was received.
    pub received_at: Timestamp,
}

/// A message, or one event of it, that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The message's id, or one derived from its bytes.
    pub message_id: Uuid,
    /// Which event of the message; -1 for the whole message.
    pub event_index: i32,
    /// Why, from a closed list.
    pub reason: &'static str,
    /// Why, for people; ASCII.
    pub detail: String,
    /// When the message was received, if that can be told.
    pub received_at: Option<Timestamp>,
    /// The queue's item.
    pub envelope: &'a [u8],
}

/// What became of a part's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// New rows.
    pub inserted: usize,
    /// In telemetry already.
    pub duplicate: usize,
}

/// Writes telemetry and dead letters.
#[derive(Clone, Debug)]
pub struct TelemetryStore {
    database: Database,
}

impl TelemetryStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The parts of a lease that are in telemetry already, as (first record, records).
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn settled(&self, lease_id: Uuid) -> Result<HashSet<(i32, i32)>, StoreError> {
        settled_parts(&self.database, SETTLED_TELEMETRY_PARTS, lease_id).await
    }

    /// Stores a part's events and dead letters; together they are all its records.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing of the part is stored, or the same call finds it stored.
    pub async fn write(
        &self,
        part: &Part<'_>,
        rows: &[TelemetryRow<'_>],
        dead: &[DeadLetter<'_>],
    ) -> Result<Appended, StoreError> {
        self.database
            .transaction(async |transaction| {
                let inserted = append(transaction, part.provider, rows).await?;
                bury(transaction, part.provider, dead).await?;
                let appended = Appended { inserted, duplicate: rows.len() - inserted };
                let counts = [appended.inserted, appended.duplicate, dead.len()];
                let counts = counts.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
                part.settle_telemetry(transaction, counts).await?;
                Ok(appended)
            })
            .await
    }

    /// Stores dead letters outside any part.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn bury(&self, provider: &str, dead: &[DeadLetter<'_>]) -> Result<(), StoreError> {
        self.database.transaction(async |transaction| bury(transaction, provider, dead).await).await
    }
}

async fn append(
    transaction: &Transaction<'_>,
    provider: &str,
    rows: &[TelemetryRow<'_>],
) -> Result<usize, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let statement = transaction.prepare_cached(APPEND_TELEMETRY).await?;
    // In the order of the key: two consumers that insert the same events would deadlock otherwise.
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| (row.event.vehicle_id, row.event.observed_at, row.event.event_id));

    fn column<'a, T>(rows: &[&'a TelemetryRow<'_>], value: impl Fn(&'a TelemetryRow<'_>) -> T) -> Vec<T> {
        rows.iter().map(|row| value(row)).collect()
    }
    let vehicle_id = column(&rows, |row| row.event.vehicle_id);
    let observed_at = column(&rows, |row| row.event.observed_at);
    let event_id = column(&rows, |row| row.event.event_id);
    let received_at = column(&rows, |row| row.received_at);
    let message_id = column(&rows, |row| row.message_id);
    let topic = column(&rows, |row| row.topic);
    let kind = column(&rows, |row| &*row.event.kind);
    let lat = column(&rows, |row| row.event.attributes.position.map(|position| position.value.lat));
    let lon = column(&rows, |row| row.event.attributes.position.map(|position| position.value.lon));
    let speed_kmh = column(&rows, |row| row.event.attributes.speed_kmh.map(|speed| speed.value));
    let battery_percent =
        column(&rows, |row| row.event.attributes.battery_percent.map(|battery| battery.value));
    let raw = column(&rows, |row| &*row.event.raw);
    let parameters: [&(dyn ToSql + Sync); 13] = [
        &vehicle_id,
        &observed_at,
        &event_id,
        &received_at,
        &message_id,
        &topic,
        &kind,
        &lat,
        &lon,
        &speed_kmh,
        &battery_percent,
        &raw,
        &provider,
    ];
    let inserted = transaction.execute(&statement, &parameters).await?;
    Ok(usize::try_from(inserted).unwrap_or(usize::MAX))
}

async fn bury(
    transaction: &Transaction<'_>,
    provider: &str,
    dead: &[DeadLetter<'_>],
) -> Result<(), StoreError> {
    if dead.is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(BURY_DEAD_LETTERS).await?;
    // ON CONFLICT cannot touch a row twice in one statement; in the order of the key, as above.
    let letters: BTreeMap<_, _> =
        dead.iter().map(|letter| ((letter.message_id, letter.event_index), letter)).collect();
    let (message_id, event_index): (Vec<Uuid>, Vec<i32>) = letters.keys().copied().unzip();
    let reason: Vec<&str> = letters.values().map(|letter| letter.reason).collect();
    let detail: Vec<&str> = letters.values().map(|letter| letter.detail.as_str()).collect();
    let received_at: Vec<Option<Timestamp>> = letters.values().map(|letter| letter.received_at).collect();
    let envelope: Vec<&[u8]> = letters.values().map(|letter| letter.envelope).collect();
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&message_id, &event_index, &reason, &detail, &received_at, &envelope, &provider];
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}
