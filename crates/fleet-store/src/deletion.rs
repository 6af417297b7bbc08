//! Deleting many rows, in pieces and patiently.

use std::ops::Range;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error_class::ErrorClass;
use crate::{Database, StoreError};

/// Rows that one transaction deletes: few enough to stay far below the statement timeout.
const PIECE: u64 = 5000;

/// Retries of one statement. With the pauses they take about ten seconds.
const RETRIES: u32 = 8;

/// The first and the longest pause before a retry.
const PAUSE: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(2);

impl Database {
    /// Deletes the rows of `table` that meet `condition`, in several transactions. What was deleted before a failure stays
    /// deleted. Tells `progress` after each transaction how many rows are deleted.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub(crate) async fn delete_in_pieces(
        &self,
        table: &str,
        condition: &str,
        parameters: &[&(dyn ToSql + Sync)],
        mut progress: impl FnMut(u64),
    ) -> Result<u64, StoreError> {
        let statement = format!(
            "WITH deleted AS (DELETE FROM {table} \
                               WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {PIECE})) \
                              RETURNING 1) \
             SELECT count(*) FROM deleted"
        );
        let mut deleted = 0;
        loop {
            let piece = count(&self.query_one_patiently(&statement, parameters).await?);
            deleted += piece;
            progress(deleted);
            if piece < PIECE {
                return Ok(deleted);
            }
        }
    }

    /// Runs a statement, and retries it after a deadlock, a lock, a restart or the like. A command must end: after
    /// [`RETRIES`] the caller gets the error.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub(crate) async fn query_one_patiently(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        let (mut retries, mut pause) = (0, PAUSE.start);
        loop {
            let error = match self.query_one(statement, parameters).await {
                Ok(row) => return Ok(row),
                Err(error) => error,
            };
            let may_pass = matches!(error.class(), ErrorClass::Unavailable | ErrorClass::Session);
            if retries == RETRIES || !may_pass || error.is_refused() {
                return Err(error);
            }
            tracing::warn!(%error, pause_ms = pause.as_millis(), "deleting rows failed: retrying");
            tokio::time::sleep(pause).await;
            (retries, pause) = (retries + 1, (pause * 2).min(PAUSE.end));
        }
    }
}

/// The number in the first column of a row.
pub(crate) fn count(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>(0)).unwrap_or_default()
}
