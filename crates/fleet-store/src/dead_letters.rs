//! Finding, showing and removing dead letters, for the people who repair.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::retention::delete_in_pieces;
use crate::{Database, StoreError};

/// Which dead letters are meant; an absent condition means any.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Slug of the provider.
    pub provider: Option<String>,
    /// Reason, from the closed list.
    pub reason: Option<String>,
    /// Died last at or after this.
    pub since: Option<Timestamp>,
    /// Died last before this.
    pub until: Option<Timestamp>,
    /// The message.
    pub message_id: Option<Uuid>,
}

/// The conditions of a [`DeadLetterFilter`], its values being parameters 1 to 5.
const CONDITIONS: &str = "($1::text IS NULL OR provider = $1) AND ($2::text IS NULL OR reason = $2) \
     AND ($3::timestamptz IS NULL OR last_dead_at >= $3) AND ($4::timestamptz IS NULL OR last_dead_at < $4) \
     AND ($5::uuid IS NULL OR message_id = $5)";

impl DeadLetterFilter {
    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![&self.provider, &self.reason, &self.since, &self.until, &self.message_id]
    }
}

/// A row of `dead_letters`.
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
    /// Why, for people.
    pub detail: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When the message was received, if that can be told.
    pub received_at: Option<Timestamp>,
    /// When it last became a dead letter.
    pub last_dead_at: Timestamp,
    /// The queue's item.
    pub envelope: Vec<u8>,
}

/// Where a page of dead letters begins: behind this key.
pub type DeadLetterKey = (Uuid, i32);

/// At most `limit` dead letters behind `after`, in the order of their keys.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn dead_letters(
    telemetry: &Database,
    filter: &DeadLetterFilter,
    after: Option<DeadLetterKey>,
    limit: i64,
) -> Result<Vec<StoredDeadLetter>, StoreError> {
    let query = format!(
        "SELECT message_id, event_index, provider, reason, detail, attempts, received_at, last_dead_at, envelope
           FROM dead_letters
          WHERE {CONDITIONS} AND (message_id, event_index) > ($6, $7)
          ORDER BY message_id, event_index LIMIT $8"
    );
    let (message_id, event_index) = after.unwrap_or((Uuid::nil(), i32::MIN));
    let mut parameters = filter.parameters();
    let page: [&(dyn ToSql + Sync); 3] = [&message_id, &event_index, &limit];
    parameters.extend(page);
    let rows = telemetry.connection().await?.query(&query, &parameters).await?;
    Ok(rows.iter().map(stored).collect())
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
        envelope: row.get(8),
    }
}

/// How many dead letters there are.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn count_dead_letters(telemetry: &Database, filter: &DeadLetterFilter) -> Result<i64, StoreError> {
    let query = format!("SELECT count(*) FROM dead_letters WHERE {CONDITIONS}");
    Ok(telemetry.connection().await?.query_one(&query, &filter.parameters()).await?.get(0))
}

/// Removes dead letters and returns how many.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn purge_dead_letters(telemetry: &Database, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
    let connection = telemetry.connection().await?;
    delete_in_pieces(&connection, "dead_letters", CONDITIONS, &filter.parameters()).await
}

/// Removes exactly these, unless they have become dead letters again since they were read: a consumer may have tried
/// them in the meantime.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn forget_dead_letters(
    telemetry: &Database,
    letters: &[StoredDeadLetter],
) -> Result<u64, StoreError> {
    let statement = "DELETE FROM dead_letters AS letter
          USING unnest($1::uuid[], $2::int4[], $3::timestamptz[]) AS done (message_id, event_index, last_dead_at)
          WHERE letter.message_id = done.message_id
            AND letter.event_index = done.event_index
            AND letter.last_dead_at = done.last_dead_at";
    let message_ids: Vec<_> = letters.iter().map(|letter| letter.message_id).collect();
    let event_indexes: Vec<_> = letters.iter().map(|letter| letter.event_index).collect();
    let died: Vec<_> = letters.iter().map(|letter| letter.last_dead_at).collect();
    Ok(telemetry.connection().await?.execute(statement, &[&message_ids, &event_indexes, &died]).await?)
}
