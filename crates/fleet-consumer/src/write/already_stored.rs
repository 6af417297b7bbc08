//! Whether a batch that was taken over or resumed is stored already.

use std::collections::HashSet;

use fleet_store::StoreError;

use crate::database_kind::DatabaseKind;
use crate::lease::obtained::Origin;
use crate::write::batch::Batch;
use crate::write::record_range::record_number;
use crate::write::transactions::Transactions;

/// Whether a database has all of a batch. `read` reads which of its parts are stored. It is not called for a batch that was
/// just claimed: its id is new.
///
/// A batch that was stored in part is written once more, which changes nothing that is there: its records may be numbered
/// differently by now, because another version parses them or because a message became a dead letter.
pub(crate) async fn is_stored<Reading: Future<Output = Result<HashSet<(i32, i32)>, StoreError>>>(
    transactions: &Transactions,
    batch: Batch<'_>,
    database: DatabaseKind,
    read: impl Fn() -> Reading,
) -> Result<bool, StoreError> {
    if batch.origin == Origin::Claimed || batch.records == 0 {
        return Ok(false);
    }
    let parts = transactions.read(database, read).await?;
    let is_whole = cover_batch(&parts, record_number(batch.records));
    if is_whole {
        // The transaction committed although its reply was lost or the consumer gave it up.
        transactions.health.of(database).answered();
    }
    Ok(is_whole)
}

/// Whether the parts, as (first record, records), cover exactly the records from 0 to `records`.
fn cover_batch(parts: &HashSet<(i32, i32)>, records: i32) -> bool {
    let mut parts: Vec<_> = parts.iter().copied().collect();
    parts.sort_unstable();
    let reached = parts.iter().try_fold(0, |reached, &(first, count)| {
        // A part overlaps its halves if it was halved after its commit went unnoticed.
        (first <= reached).then_some(reached.max(first.saturating_add(count)))
    });
    reached == Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_records_cover_the_batch() {
        let cover_batch =
            |parts: &[(i32, i32)], records| cover_batch(&parts.iter().copied().collect(), records);
        assert!(cover_batch(&[(0, 5)], 5));
        assert!(cover_batch(&[(3, 2), (0, 3)], 5));
        assert!(cover_batch(&[(0, 5), (0, 2), (2, 3)], 5));
        assert!(!cover_batch(&[], 5));
        assert!(!cover_batch(&[(0, 4)], 5), "the end is missing");
        assert!(!cover_batch(&[(0, 2), (3, 2)], 5), "one is missing in between");
        assert!(!cover_batch(&[(1, 4)], 5), "the first is missing");
        assert!(!cover_batch(&[(0, 6)], 5), "the records were numbered differently");
    }
}
