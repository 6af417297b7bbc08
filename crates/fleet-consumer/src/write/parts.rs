//! The parts in which a batch is stored.

use std::collections::HashSet;

/// Whether the parts, as (first record, records), are exactly the records from 0 to `records`.
pub(crate) fn cover_batch(parts: &HashSet<(i32, i32)>, records: i32) -> bool {
    let mut parts: Vec<_> = parts.iter().copied().collect();
    parts.sort_unstable();
    let reached = parts.iter().try_fold(0, |reached, &(first, count)| {
        // A part that was halved later overlaps its halves.
        (first <= reached).then_some(reached.max(first.saturating_add(count)))
    });
    reached == Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_batch_is_the_batch() {
        let cover_batch = |parts: &[(i32, i32)], records| cover_batch(&parts.iter().copied().collect(), records);
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
