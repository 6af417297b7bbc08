//! Finding and removing dead letters, for `fleet-consumer dead-letters`.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::deletion::count;
use crate::{Database, StoreError};

/// Selects dead letters. An absent condition matches all.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Slug of the provider.
    pub provider: Option<String>,
    /// Reason, from the closed list.
    pub reason: Option<String>,
    /// Last became a dead letter at or after this time.
    pub since: Option<Timestamp>,
    /// Last became a dead letter before this time.
    pub until: Option<Timestamp>,
    /// The message.
    pub message_id: Option<Uuid>,
}

/// The conditions of a [`DeadLetterFilter`]. Its values are the parameters 1 to 5.
const CONDITIONS: &str = "($1::text IS NULL OR provider = $1) AND ($2::text IS NULL OR reason = $2) \
     AND ($3::timestamptz IS NULL OR last_dead_at >= $3) AND ($4::timestamptz IS NULL OR last_dead_at < $4) \
     AND ($5::uuid IS NULL OR message_id = $5)";

impl DeadLetterFilter {
    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![&self.provider, &self.reason, &self.since, &self.until, &self.message_id]
    }
}

/// A row of `dead_letters`, without the message's bytes, which may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The message's id, or one derived from its bytes.
    pub message_id: Uuid,
    /// Which event of the message; -1 for the whole message.
    pub event_index: i32,
    /// Slug of the provider.
    pub provider: String,
    /// Why, from a closed list.
    pub reason: String,
    /// Why, as text.
    pub detail: String,
    /// How often it was processed.
    pub attempts: i32,
    /// When the message was received, if known.
    pub received_at: Option<Timestamp>,
    /// When it last became a dead letter.
    pub last_dead_at: Timestamp,
}

/// A message that has dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMessage {
    /// The message's id, or one derived from its bytes.
    pub message_id: Uuid,
    /// Slug of the provider.
    pub provider: String,
    /// The queue item.
    pub envelope: Vec<u8>,
}

/// Counts for one provider and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterTotals {
    /// Slug of the provider.
    pub provider: String,
    /// Reason, from the closed list.
    pub reason: String,
    /// Dead letters.
    pub letters: i64,
    /// The messages that they belong to.
    pub messages: i64,
}

/// The key after which a page of dead letters begins.
pub type DeadLetterKey = (Uuid, i32);

/// The dead letters of the telemetry database.
#[derive(Clone, Debug)]
pub struct DeadLetterStore {
    database: Database,
}

impl DeadLetterStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// At most `limit` dead letters after the key `after`, in the order of their keys.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterKey>,
        limit: i64,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let query = format!(
            "SELECT message_id, event_index, provider, reason, detail, attempts, received_at, last_dead_at
               FROM dead_letters
              WHERE {CONDITIONS} AND (message_id, event_index) > ($6, $7)
              ORDER BY message_id, event_index LIMIT $8"
        );
        let (message_id, event_index) = after.unwrap_or((Uuid::nil(), i32::MIN));
        let mut parameters = filter.parameters();
        let page: [&(dyn ToSql + Sync); 3] = [&message_id, &event_index, &limit];
        parameters.extend(page);
        let rows = self.database.query(&query, &parameters).await?;
        Ok(rows.iter().map(stored).collect())
    }

    /// At most `limit` messages after `after` that have matching dead letters, in the order of their ids.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn messages(
        &self,
        filter: &DeadLetterFilter,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<DeadMessage>, StoreError> {
        let query = format!(
            "SELECT letter.message_id, provider, coalesce(message.envelope, letter.envelope)
               FROM (SELECT DISTINCT ON (message_id) message_id, provider, dead_message_id, envelope
                       FROM dead_letters
                      WHERE {CONDITIONS} AND message_id > $6
                      ORDER BY message_id, event_index LIMIT $7) AS letter
               LEFT JOIN dead_messages AS message ON message.message_id = letter.dead_message_id
              ORDER BY letter.message_id"
        );
        let after = after.unwrap_or(Uuid::nil());
        let mut parameters = filter.parameters();
        let page: [&(dyn ToSql + Sync); 2] = [&after, &limit];
        parameters.extend(page);
        let rows = self.database.query(&query, &parameters).await?;
        let message =
            |row: &Row| DeadMessage { message_id: row.get(0), provider: row.get(1), envelope: row.get(2) };
        Ok(rows.iter().map(message).collect())
    }

    /// The number of matching dead letters, by provider and reason.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn totals(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterTotals>, StoreError> {
        let query = format!(
            "SELECT provider, reason, count(*), count(DISTINCT message_id)
               FROM dead_letters WHERE {CONDITIONS} GROUP BY provider, reason ORDER BY provider, reason"
        );
        let rows = self.database.query(&query, &filter.parameters()).await?;
        let totals = |row: &Row| DeadLetterTotals {
            provider: row.get(0),
            reason: row.get(1),
            letters: row.get(2),
            messages: row.get(3),
        };
        Ok(rows.iter().map(totals).collect())
    }

    /// The number of matching dead letters.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn count(&self, filter: &DeadLetterFilter) -> Result<i64, StoreError> {
        let query = format!("SELECT count(*) FROM dead_letters WHERE {CONDITIONS}");
        Ok(self.database.query_one(&query, &filter.parameters()).await?.get(0))
    }

    /// The number of messages that have matching dead letters.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn count_messages(&self, filter: &DeadLetterFilter) -> Result<i64, StoreError> {
        let query = format!("SELECT count(DISTINCT message_id) FROM dead_letters WHERE {CONDITIONS}");
        Ok(self.database.query_one(&query, &filter.parameters()).await?.get(0))
    }

    /// Removes matching dead letters and returns their number. Tells `progress` after every transaction how many are
    /// removed.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. What was removed before it stays removed.
    pub async fn purge(
        &self,
        filter: &DeadLetterFilter,
        progress: impl FnMut(u64),
    ) -> Result<u64, StoreError> {
        self.database.delete_in_pieces("dead_letters", CONDITIONS, &filter.parameters(), progress).await
    }

    /// The clock of the telemetry database, which sets the times of dead letters.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.database.query_one("SELECT now()", &[]).await?.get(0))
    }

    /// Removes all dead letters of these messages, except those that became one at `before` or later. A consumer may
    /// have processed the message again in the meantime.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn forget(&self, message_ids: &[Uuid], before: Timestamp) -> Result<u64, StoreError> {
        let statement = "WITH forgotten AS (DELETE FROM dead_letters WHERE message_id = ANY($1) AND last_dead_at < $2 \
                                            RETURNING 1) SELECT count(*) FROM forgotten";
        Ok(count(&self.database.query_one(statement, &[&message_ids, &before]).await?))
    }
}

fn stored(row: &Row) -> StoredDeadLetter {
    StoredDeadLetter {
        message_id: row.get(0),
        event_index: row.get(1),
        provider: row.get(2),
        reason: row.get(3),
        detail: row.get(4),
        attempts: row.get(5),
        received_at: row.get(6),
        last_dead_at: row.get(7),
    }
}
