//! Which parts of which batches are stored.

use std::collections::HashSet;

use uuid::Uuid;

use crate::{Database, StoreError};

/// The end of a statement that has written nothing, because everything was there before.
///
/// PostgreSQL lets a commit wait for the synchronous standbys only if the transaction has written something. What is there
/// may be from a commit whose wait was cancelled, or was ended by a crash: only the primary has it then. A message in the
/// write-ahead log makes this transaction wait. Its commit is behind the other one, so the standbys have both then.
pub(crate) const REPLICATE_UNLESS_SETTLED: &str =
    "CASE WHEN NOT EXISTS (SELECT FROM settled) THEN pg_logical_emit_message(true, 'fleet', ''::text) END";

/// The parts of a lease that are stored in the state database, and on its synchronous standbys. A standby refuses it,
/// because it could insert.
pub const SETTLED_STATE_PARTS: &str = "\
WITH refused AS (INSERT INTO settled_state_batches SELECT * FROM settled_state_batches WHERE false)
SELECT first_record, records, pg_logical_emit_message(true, 'fleet', ''::text) FROM settled_state_batches WHERE lease_id = $1";
/// The same in the telemetry database.
pub const SETTLED_TELEMETRY_PARTS: &str = "\
WITH refused AS (INSERT INTO settled_batches SELECT * FROM settled_batches WHERE false)
SELECT first_record, records, pg_logical_emit_message(true, 'fleet', ''::text) FROM settled_batches WHERE lease_id = $1";

/// Consecutive records of one claimed batch. One transaction stores one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The id of the batch's lease in the queue.
    pub lease_id: Uuid,
    /// Slug of the provider.
    pub provider: &'a str,
    /// Index of the first record.
    pub first_record: i32,
    /// Number of records.
    pub records: i32,
}

impl Database {
    /// The parts of a lease that are stored, as (first record, records).
    pub(crate) async fn settled_parts(
        &self,
        query: &str,
        lease_id: Uuid,
    ) -> Result<HashSet<(i32, i32)>, StoreError> {
        let rows = self.query(query, &[&lease_id]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}
