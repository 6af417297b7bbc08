//! Which parts of which batches are stored.

use std::collections::HashSet;

use uuid::Uuid;

use crate::{Database, StoreError};

/// The parts of a lease that are stored in the state database.
pub const SETTLED_STATE_PARTS: &str =
    "SELECT first_record, records FROM settled_state_batches WHERE lease_id = $1";
/// The parts of a lease that are stored in the telemetry database.
pub const SETTLED_TELEMETRY_PARTS: &str =
    "SELECT first_record, records FROM settled_batches WHERE lease_id = $1";

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
