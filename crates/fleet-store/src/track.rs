//! Reading the stored events of one vehicle.

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{StoreError, TelemetryStore};

/// One event of a vehicle, with what is needed to parse it again.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVehicleEvent {
    /// When it was observed.
    pub observed_at: Timestamp,
    /// See [`fleet_providers::VehicleEvent::event_id`].
    pub event_id: Uuid,
    /// When it was received.
    pub received_at: Timestamp,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's topic.
    pub topic: String,
    /// The event as JSON text.
    pub raw: String,
}

/// The longest time by which an event's time of observation may be after its receipt. Longer than the tolerated clock
/// skew.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

impl TelemetryStore {
    /// The newest events of a vehicle by time of observation, at most `limit`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn newest_events(
        &self,
        vehicle_id: Uuid,
        limit: i64,
    ) -> Result<Vec<StoredVehicleEvent>, StoreError> {
        let query = "SELECT observed_at, event_id, received_at, message_id, topic, raw::text
                       FROM telemetry WHERE vehicle_id = $1
                      ORDER BY observed_at DESC, event_id LIMIT $2";
        Ok(self.database().query(query, &[&vehicle_id, &limit]).await?.iter().map(event).collect())
    }

    /// The events of a vehicle that may contain a value that was observed at `at` and received at `received_at`.
    /// Without a receipt, the events that were observed at `at`. At most `limit`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn events_behind(
        &self,
        vehicle_id: Uuid,
        at: Timestamp,
        received_at: Option<Timestamp>,
        limit: i64,
    ) -> Result<Vec<StoredVehicleEvent>, StoreError> {
        // An event is not observed earlier than its values, unless the value's clock is ahead of the event's.
        let from = at.checked_sub(CLOCK_SKEW).unwrap_or(at);
        let last = received_at.unwrap_or(at);
        let to = last.checked_add(CLOCK_SKEW).unwrap_or(last);
        let query = "SELECT observed_at, event_id, received_at, message_id, topic, raw::text
                       FROM telemetry
                      WHERE vehicle_id = $1 AND observed_at BETWEEN $2 AND $3
                        AND CASE WHEN $4::timestamptz IS NULL THEN observed_at = $5 ELSE received_at = $4 END
                      ORDER BY observed_at DESC, event_id LIMIT $6";
        let rows =
            self.database().query(query, &[&vehicle_id, &from, &to, &received_at, &at, &limit]).await?;
        Ok(rows.iter().map(event).collect())
    }
}

fn event(row: &Row) -> StoredVehicleEvent {
    StoredVehicleEvent {
        observed_at: row.get(0),
        event_id: row.get(1),
        received_at: row.get(2),
        message_id: row.get(3),
        topic: row.get(4),
        raw: row.get(5),
    }
}
