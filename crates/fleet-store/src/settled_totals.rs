//! What both databases remember of every provider's batches, for the audit.

use std::collections::BTreeMap;

use crate::{Database, StoreError};

const OUTCOMES: &str = "SELECT provider, sum(inserted), sum(duplicate), sum(dead_lettered) \
                         FROM settled_batches GROUP BY provider";

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

impl SettledTotals {
    /// Adds up the parts that both databases remember, by provider.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn read(state: &Database, telemetry: &Database) -> Result<BTreeMap<String, Self>, StoreError> {
        let mut totals: BTreeMap<String, Self> = BTreeMap::new();
        for row in telemetry.query(OUTCOMES, &[]).await? {
            let found = totals.entry(row.get(0)).or_default();
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
}
