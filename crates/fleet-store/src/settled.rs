//! Which parts of which batches are stored.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use crate::{Database, StoreError};

/// Parts of a lease that are in the state.
pub const SETTLED_STATE_PARTS: &str =
    "SELECT first_record, records FROM settled_state_batches WHERE lease_id = $1";
/// Parts of a lease that are in telemetry.
pub const SETTLED_TELEMETRY_PARTS: &str =
    "SELECT first_record, records FROM settled_batches WHERE lease_id = $1";
/// Consecutive records of one claimed batch: what one transaction stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The batch's id in the queue.
    pub lease_id: Uuid,
    /// Slug of the provider.
    pub provider: &'a str,
    /// Index of the first record.
    pub first_record: i32,
    /// Number of records.
    pub records: i32,
}

/// The parts of a lease that are stored, as (first record, records).
pub(crate) async fn settled_parts(
    database: &Database,
    query: &str,
    lease_id: Uuid,
) -> Result<HashSet<(i32, i32)>, StoreError> {
    let rows = database.query(query, &[&lease_id]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What became of a provider's records, over all remembered parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledTotals {
    /// Rows of telemetry.
    pub inserted: i64,
    /// In telemetry already.
    pub duplicate: i64,
    /// Dead letters.
    pub dead_lettered: i64,
    /// Different records (events, and messages without any) that went through the telemetry database.
    pub telemetry_records: i64,
    /// The same, through the state database.
    pub state_records: i64,
}

/// Different records by provider. A batch whose owner died half-way was stored in overlapping parts.
fn coverage(table: &str) -> String {
    format!(
        "SELECT provider, sum(upper(part) - lower(part))::int8
           FROM (SELECT provider, unnest(range_agg(int4range(first_record, first_record + records))) AS part
                   FROM {table} GROUP BY provider, lease_id) AS parts
          GROUP BY provider"
    )
}

/// Adds up the parts that both databases remember, by provider.
///
/// # Errors
///
/// Any [`StoreError`].
pub async fn settled_totals(
    state: &Database,
    telemetry: &Database,
) -> Result<BTreeMap<String, SettledTotals>, StoreError> {
    let mut totals: BTreeMap<String, SettledTotals> = BTreeMap::new();
    let outcomes = "SELECT provider, sum(inserted), sum(duplicate), sum(dead_lettered) \
                      FROM settled_batches GROUP BY provider";
    for row in telemetry.query(outcomes, &[]).await? {
        let found: &mut SettledTotals = totals.entry(row.get(0)).or_default();
        (found.inserted, found.duplicate, found.dead_lettered) = (row.get(1), row.get(2), row.get(3));
    }
    for row in telemetry.query(&coverage("settled_batches"), &[]).await? {
        totals.entry(row.get(0)).or_default().telemetry_records = row.get(1);
    }
    for row in state.query(&coverage("settled_state_batches"), &[]).await? {
        totals.entry(row.get(0)).or_default().state_records = row.get(1);
    }
    Ok(totals)
}
