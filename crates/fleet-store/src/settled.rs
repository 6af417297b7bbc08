//! Which parts of which batches are stored.

use std::collections::{BTreeMap, HashSet};

use deadpool_postgres::{GenericClient, Transaction};
use uuid::Uuid;

use crate::{Database, StoreError};

/// Parts of a lease that are in the state.
pub const SETTLED_STATE_PARTS: &str =
    "SELECT first_record, records FROM settled_state_batches WHERE lease_id = $1";
/// Parts of a lease that are in telemetry.
pub const SETTLED_TELEMETRY_PARTS: &str =
    "SELECT first_record, records FROM settled_batches WHERE lease_id = $1";
/// Remembers a part of the state.
pub const SETTLE_STATE: &str = "INSERT INTO settled_state_batches (lease_id, first_record, records, provider, vehicles) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
/// Remembers a part of telemetry.
pub const SETTLE_TELEMETRY: &str = "INSERT INTO settled_batches \
     (lease_id, first_record, records, provider, inserted, duplicate, dead_lettered) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

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

impl Part<'_> {
    pub(crate) async fn settle_state(
        &self,
        transaction: &Transaction<'_>,
        vehicles: i32,
    ) -> Result<(), StoreError> {
        let statement = transaction.prepare_cached(SETTLE_STATE).await?;
        let Self { lease_id, provider, first_record, records } = self;
        transaction.execute(&statement, &[lease_id, first_record, records, provider, &vehicles]).await?;
        Ok(())
    }

    pub(crate) async fn settle_telemetry(
        &self,
        transaction: &Transaction<'_>,
        counts: [i32; 3],
    ) -> Result<(), StoreError> {
        let statement = transaction.prepare_cached(SETTLE_TELEMETRY).await?;
        let Self { lease_id, provider, first_record, records } = self;
        let [inserted, duplicate, dead] = &counts;
        transaction
            .execute(&statement, &[lease_id, first_record, records, provider, inserted, duplicate, dead])
            .await?;
        Ok(())
    }
}

/// The parts of a lease that are stored, as (first record, records).
pub(crate) async fn settled_parts(
    database: &Database,
    query: &str,
    lease_id: Uuid,
) -> Result<HashSet<(i32, i32)>, StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(query).await?;
    let rows = connection.query(&statement, &[&lease_id]).await?;
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
    /// Events, and messages without any, that went through the telemetry database.
    pub telemetry_records: i64,
    /// The same, through the state database.
    pub state_records: i64,
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
    let query = "SELECT provider, sum(inserted), sum(duplicate), sum(dead_lettered), sum(records) \
                   FROM settled_batches GROUP BY provider";
    for row in telemetry.connection().await?.query(query, &[]).await? {
        let found = SettledTotals {
            inserted: row.get(1),
            duplicate: row.get(2),
            dead_lettered: row.get(3),
            telemetry_records: row.get(4),
            state_records: 0,
        };
        totals.insert(row.get(0), found);
    }
    let query = "SELECT provider, sum(records) FROM settled_state_batches GROUP BY provider";
    for row in state.connection().await?.query(query, &[]).await? {
        totals.entry(row.get(0)).or_default().state_records = row.get(1);
    }
    Ok(totals)
}
