//! Forgetting what is old.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{Database, ErrorClass, StoreError};

/// How long after their receipt messages are remembered that left no row, or not all of their rows.
const UNSTORED_MESSAGES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPeriods {
    /// Raw events, by `observed_at`.
    pub telemetry: Duration,
    /// Dead letters, since they last died.
    pub dead_letters: Duration,
    /// The memory of settled batches.
    pub settled_batches: Duration,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Whole chunks of telemetry.
    pub chunks: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Rows of both memories of settled batches.
    pub settled_batches: u64,
    /// Rows of `unstored_messages`.
    pub unstored_messages: u64,
}

/// Removes what is older than its period. Safe to run at any time.
///
/// # Errors
///
/// Any [`StoreError`]; what was removed until then stays removed, run it again.
pub async fn expire(
    state: &Database,
    telemetry: &Database,
    periods: RetentionPeriods,
) -> Result<Expired, StoreError> {
    let chunks = "SELECT count(*) FROM drop_chunks('telemetry', now() - make_interval(secs => $1))";
    let chunks = count(&patiently(telemetry, chunks, &[&periods.telemetry.as_secs_f64()]).await?);
    let old = "last_dead_at < now() - make_interval(secs => $1)";
    let age = periods.dead_letters.as_secs_f64();
    let dead_letters = delete_in_pieces(telemetry, "dead_letters", old, &[&age], |_| ()).await?;
    let oldest_message = oldest_id(UNSTORED_MESSAGES);
    let old = "message_id < $1";
    let unstored_messages =
        delete_in_pieces(telemetry, "unstored_messages", old, &[&oldest_message], |_| ()).await?;
    // By the age that the lease's id says, not by when each side committed: both must forget the same batches.
    let oldest_lease = oldest_id(periods.settled_batches);
    let old = "lease_id < $1";
    let telemetry_batches =
        delete_in_pieces(telemetry, "settled_batches", old, &[&oldest_lease], |_| ()).await?;
    let state_batches =
        delete_in_pieces(state, "settled_state_batches", old, &[&oldest_lease], |_| ()).await?;
    let settled_batches = telemetry_batches + state_batches;
    Ok(Expired { chunks, dead_letters, settled_batches, unstored_messages })
}

/// The least UUIDv7 of the moment `age` ago.
fn oldest_id(age: Duration) -> Uuid {
    let moment = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    let millis = u64::try_from(moment.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// Deletes what `condition` names, in transactions that stay far below the statement timeout: what was deleted until a
/// failure stays deleted. Tells `progress` how many that are.
pub(crate) async fn delete_in_pieces(
    database: &Database,
    table: &str,
    condition: &str,
    parameters: &[&(dyn ToSql + Sync)],
    mut progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    const PIECE: u64 = 5000;
    let statement = format!(
        "WITH deleted AS (DELETE FROM {table} \
                           WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {PIECE})) \
                          RETURNING 1) \
         SELECT count(*) FROM deleted"
    );
    let mut deleted = 0;
    loop {
        let piece = count(&patiently(database, &statement, parameters).await?);
        deleted += piece;
        progress(deleted);
        if piece < PIECE {
            return Ok(deleted);
        }
    }
}

/// The number in the first column of a row.
pub(crate) fn count(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>(0)).unwrap_or_default()
}

/// Repeats a statement that met a deadlock, a lock, a restart or the like. A command should come to an end: after a few
/// times the error is the caller's.
async fn patiently(
    database: &Database,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, StoreError> {
    // Ten seconds together.
    const RETRIES: u32 = 8;
    const PAUSE: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(2);
    let (mut retries, mut pause) = (0, PAUSE.start);
    loop {
        let error = match database.query_one(statement, parameters).await {
            Ok(row) => return Ok(row),
            Err(error) => error,
        };
        let may_pass = matches!(error.class(), ErrorClass::Unavailable | ErrorClass::Session);
        if retries == RETRIES || !may_pass || error.is_refused() {
            return Err(error);
        }
        tracing::warn!(%error, pause_ms = pause.as_millis(), "the database did not remove what is old: trying again");
        tokio::time::sleep(pause).await;
        (retries, pause) = (retries + 1, (pause * 2).min(PAUSE.end));
    }
}
