//! Finding the rows of a message, for `fleet-consumer trace`.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::{EventKey, StoreError, TelemetryStore};

/// The received_at of an event is that of its message plus its place in the message in microseconds. A message has at
/// most 10,000 events.
const MESSAGE_SPAN: Duration = Duration::from_millis(20);

/// An event is observed at most five minutes after its receipt. Later chunks need not be searched.
const MOST_AHEAD: Duration = Duration::from_secs(10 * 60);

/// Most events are received within a day.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);

/// Uses the index on received_at in every chunk that may contain the rows.
const EVENTS: &str = "SELECT vehicle_id, observed_at, event_id, provider, kind, count(*) OVER ()
   FROM telemetry
  WHERE received_at >= $2 AND received_at < $3 AND observed_at >= $4 AND observed_at < $5 AND message_id = $1
  ORDER BY received_at LIMIT $6";

const UNSTORED: &str =
    "SELECT provider, events, duplicates, first_duplicate_vehicle_id, first_duplicate_observed_at,
        first_duplicate_event_id
   FROM unstored_messages WHERE message_id = $1";

const MESSAGE_OF_EVENT: &str =
    "SELECT message_id FROM telemetry WHERE vehicle_id = $1 AND observed_at = $2 AND event_id = $3";

/// A row of telemetry, without what the vehicle reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedEvent {
    /// Its key.
    pub key: EventKey,
    /// Slug of the provider.
    pub provider: String,
    /// Type of the event as the provider names it.
    pub kind: String,
}

/// Selects events of a message. Compressed chunks are read as a whole, so the chunks that most likely contain the
/// events are searched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Observed at most a day before the receipt.
    Soon,
    /// Observed earlier.
    Earlier,
}

/// A message's rows of telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedEvents {
    /// Their number.
    pub count: i64,
    /// The first ones.
    pub first: Vec<TracedEvent>,
}

/// A row of `unstored_messages`: a message without events, or with events that were already in telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnstoredMessage {
    /// Slug of the provider.
    pub provider: String,
    /// Number of its events in the stored part, without dead letters. 0 if the message has no events.
    pub events: i32,
    /// How many of these are duplicates.
    pub duplicates: i32,
    /// The row that the first duplicate conflicts with.
    pub first_duplicate: Option<EventKey>,
}

impl TelemetryStore {
    /// The telemetry rows of a message in this range of observation. Reads at most `most`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn events_of_message(
        &self,
        message_id: Uuid,
        received_at: Timestamp,
        observed: Observed,
        most: i64,
    ) -> Result<TracedEvents, StoreError> {
        let until = received_at.checked_add(MESSAGE_SPAN).unwrap_or(received_at);
        let day_before = received_at.checked_sub(SOON).unwrap_or(Timestamp::UNIX_EPOCH);
        let (from, to) = match observed {
            Observed::Soon => (day_before, received_at.checked_add(MOST_AHEAD).unwrap_or(until)),
            // The epoch is the earliest time in telemetry.
            Observed::Earlier => (Timestamp::UNIX_EPOCH, day_before),
        };
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&message_id, Type::UUID),
            (&received_at, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&most, Type::INT8),
        ];
        let rows = self.database().query_by_receipt(EVENTS, &parameters).await?;
        let count = rows.first().map_or(0, |row| row.get(5));
        let event = |row: &Row| TracedEvent {
            key: EventKey { vehicle_id: row.get(0), observed_at: row.get(1), event_id: row.get(2) },
            provider: row.get(3),
            kind: row.get(4),
        };
        Ok(TracedEvents { count, first: rows.iter().map(event).collect() })
    }

    /// The row of `unstored_messages` of a message.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn unstored_message(&self, message_id: Uuid) -> Result<Option<UnstoredMessage>, StoreError> {
        let rows = self.database().query(UNSTORED, &[&message_id]).await?;
        let noted = |row: &Row| {
            let key: [Option<Uuid>; 2] = [row.get(3), row.get(5)];
            let first_duplicate = match (key, row.get(4)) {
                ([Some(vehicle_id), Some(event_id)], Some(observed_at)) => {
                    Some(EventKey { vehicle_id, observed_at, event_id })
                }
                ([_, _], Some(_) | None) => None,
            };
            UnstoredMessage {
                provider: row.get(0),
                events: row.get(1),
                duplicates: row.get(2),
                first_duplicate,
            }
        };
        Ok(rows.first().map(noted))
    }

    /// The message of the telemetry row with this key.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn message_of_event(&self, key: EventKey) -> Result<Option<Uuid>, StoreError> {
        let EventKey { vehicle_id, observed_at, event_id } = key;
        let rows = self.database().query(MESSAGE_OF_EVENT, &[&vehicle_id, &observed_at, &event_id]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }
}
