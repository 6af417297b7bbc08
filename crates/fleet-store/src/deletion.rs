//! Deleting many rows, in pieces and patiently.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::error_class::ErrorClass;
use crate::{Database, StoreError};

/// Rows that one transaction deletes: few enough to stay far below the statement timeout.
const PIECE: u64 = 5000;

/// Retries of one statement, which take about ten seconds together. Jitter makes a pause up to twice as long.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .with_max_times(10)
    .with_jitter();

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
        let run = || self.query_one(statement, parameters);
        run.retry(RETRIES).sleep(tokio::time::sleep).when(may_pass).notify(log).await
    }
}

/// Whether a failure can end by itself within seconds.
fn may_pass(error: &StoreError) -> bool {
    let may_pass = match error.class() {
        ErrorClass::Unavailable | ErrorClass::Session | ErrorClass::Locked => true,
        ErrorClass::TooSlow | ErrorClass::Poison | ErrorClass::Fatal => false,
    };
    may_pass && !error.is_refused()
}

fn log(error: &StoreError, pause: Duration) {
    let pause_ms = pause.as_millis();
    tracing::warn!(%error, pause_ms, "the database did not remove what is old: trying again");
}

/// The number in the first column of a row.
pub(crate) fn count(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>(0)).unwrap_or_default()
}
