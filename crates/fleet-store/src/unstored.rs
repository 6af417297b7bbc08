//! Recording messages that leave no row in telemetry, for `fleet-consumer trace`.

use jiff::Timestamp;
use uuid::Uuid;

use crate::timestamp::TimestampTz;
use crate::{StoreError, TelemetryStore};

/// Records messages without events. A batch may have no others, so that this statement must wait for the synchronous
/// standbys like those that store parts: see [`crate::settled`].
pub const NOTE_EMPTY_MESSAGES: &str = "WITH settled AS (
    INSERT INTO unstored_messages (message_id, provider, received_at, events, duplicates)
    SELECT message_id, $1::text, received_at, 0, 0
      FROM unnest($2::uuid[], $3::timestamptz[]) AS message (message_id, received_at)
     ORDER BY message_id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT CASE WHEN NOT EXISTS (SELECT FROM settled) THEN pg_logical_emit_message(true, 'fleet', ''::text) END";

/// The most messages that are recorded for one batch. `store_telemetry.sql` has the same bound for one part.
const MOST: usize = 1000;

/// A message without events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptyMessage {
    /// The message's id.
    pub message_id: Uuid,
    /// When it was received.
    pub received_at: Timestamp,
}

impl TelemetryStore {
    /// Records messages without events, up to the bound for a batch.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn note_empty(&self, provider: &str, messages: &[EmptyMessage]) -> Result<(), StoreError> {
        let messages = messages.get(..MOST).unwrap_or(messages);
        let (ids, received_at): (Vec<_>, Vec<_>) = messages
            .iter()
            .map(|message| (message.message_id, TimestampTz::from(message.received_at)))
            .unzip();
        self.database().query(NOTE_EMPTY_MESSAGES, &[&provider, &ids, &received_at]).await?;
        Ok(())
    }
}
