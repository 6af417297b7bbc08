//! The settled records of every provider in both databases, for the audit.

use std::collections::BTreeMap;

use crate::{Database, StoreError};

const OUTCOMES: &str = "SELECT provider, sum(inserted), sum(duplicate), sum(dead_lettered) \
                         FROM settled_batches GROUP BY provider";

/// The outcome of a provider's records, over all stored parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledTotals {
    /// Rows of telemetry.
    pub inserted: i64,
    /// Events that were already in telemetry.
    pub duplicate: i64,
    /// Dead letters.
    pub dead_lettered: i64,
    /// Distinct records that the telemetry database settled. A record is an event, or a message without events.
    pub telemetry_records: i64,
    /// Distinct records that the state database settled.
    pub state_records: i64,
}

/// Counts distinct records by provider. Parts of a batch may overlap if its first owner died half-way.
fn coverage(table: &str) -> String {
    format!(
        "SELECT provider, sum(upper(part) - lower(part))::int8
           FROM (SELECT provider, unnest(range_agg(int4range(first_record, first_record + records))) AS part
                   FROM {table} GROUP BY provider, lease_id) AS parts
          GROUP BY provider"
    )
}

impl SettledTotals {
    /// Adds up the stored parts of both databases, by provider.
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
