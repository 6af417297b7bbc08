//! Messages that leave no row behind, for those who look for them.

use jiff::Timestamp;
use uuid::Uuid;

use crate::timestamp::Micros;
use crate::{StoreError, TelemetryStore};

/// Notes messages without any event.
pub const NOTE_EMPTY_MESSAGES: &str =
    "INSERT INTO unstored_messages (message_id, provider, received_at, events, duplicates)
     SELECT message_id, $1::text, received_at, 0, 0
       FROM unnest($2::uuid[], $3::timestamptz[]) AS message (message_id, received_at)
      ORDER BY message_id
     ON CONFLICT DO NOTHING";

/// Most messages that are noted for one batch, as in `store_telemetry.sql` for one part.
const MOST: usize = 1000;

/// A message that has no event at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptyMessage {
    /// The message's id.
    pub message_id: Uuid,
    /// When it was received.
    pub received_at: Timestamp,
}

impl TelemetryStore {
    /// Notes messages without any event, as many as a batch may have noted.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn note_empty(&self, provider: &str, messages: &[EmptyMessage]) -> Result<(), StoreError> {
        let messages = messages.get(..MOST).unwrap_or(messages);
        let (ids, received_at): (Vec<_>, Vec<_>) =
            messages.iter().map(|message| (message.message_id, Micros::from(message.received_at))).unzip();
        self.database().query(NOTE_EMPTY_MESSAGES, &[&provider, &ids, &received_at]).await?;
        Ok(())
    }
}
