//! Splits a slice into ranges of records, each of which is stored in one transaction.

use std::ops::Range;

use fleet_store::{EmptyMessage, Part};
use jiff::Timestamp;
use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;
use crate::batch::slices::Slice;
use crate::database_kind::DatabaseKind;

/// Most bytes of one transaction's events and dead letters, unless it has a single record. A statement's parameters are
/// copied several times on their way to the server.
const MAX_RANGE_BYTES: usize = 2 * 1024 * 1024;

/// A slice of a batch, and the database it is written to.
#[derive(Clone, Copy)]
pub(crate) struct SliceToStore<'a> {
    pub(crate) lease_id: Uuid,
    pub(crate) provider: &'static str,
    pub(crate) slice: &'a Slice<'a>,
    /// Messages without any record. Telemetry notes them; for the state there are none.
    pub(crate) empty: &'a [EmptyMessage],
    pub(crate) database: DatabaseKind,
}

/// The records of one transaction.
#[derive(Clone)]
pub(crate) struct RecordRange {
    /// Indexes within the slice.
    pub(crate) range: Range<usize>,
    /// Why a database rejected the only record of this range.
    pub(crate) rejection: Option<Rejection>,
}

impl RecordRange {
    fn new(range: Range<usize>) -> Self {
        Self { range, rejection: None }
    }

    /// Whether it cannot be halved.
    pub(crate) fn is_single(&self) -> bool {
        self.range.len() <= 1
    }

    /// The first half, and the second one.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let Range { start, end } = self.range;
        let middle = start + (end - start) / 2;
        [Self::new(start..middle), Self::new(middle..end)]
    }
}

impl<'a> SliceToStore<'a> {
    /// All ranges of the slice, the last one first. Without any record there is one empty range, to note the messages.
    pub(crate) fn ranges(&self, max_records: usize) -> Vec<RecordRange> {
        let records = &self.slice.records;
        if records.is_empty() && !self.empty.is_empty() {
            return vec![RecordRange::new(0..0)];
        }
        let mut ranges = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (index, record) in records.iter().enumerate() {
            let size = statement_bytes(record);
            if index > start && (index - start >= max_records || bytes + size > MAX_RANGE_BYTES) {
                ranges.push(RecordRange::new(start..index));
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        if start < records.len() {
            ranges.push(RecordRange::new(start..records.len()));
        }
        ranges.reverse();
        ranges
    }

    /// When the message of the range's first record was received.
    pub(crate) fn received_at(&self, range: &RecordRange) -> Timestamp {
        let first = self.records_of(range).next();
        first.and_then(|record| record.message.received_at).unwrap_or_default()
    }

    /// How the database notes that it has stored these records.
    pub(crate) fn part(&self, range: &RecordRange) -> Part<'static> {
        Part {
            lease_id: self.lease_id,
            provider: self.provider,
            first_record: record_number(self.slice.first_record + range.range.start),
            records: record_number(range.range.len()),
        }
    }

    pub(crate) fn records_of(&self, range: &RecordRange) -> impl Iterator<Item = &'a Record<'a>> {
        self.slice.records[range.range.clone()].iter()
    }
}

/// About how many bytes of a statement a record takes: its text, or the envelope of a dead letter.
fn statement_bytes(record: &Record<'_>) -> usize {
    record.outcome.as_ref().map_or(record.message.item.len(), |event| event.raw.len())
}

/// A batch has at most 4 MiB of messages, so it has far fewer records than an `i32` can count.
pub(crate) fn record_number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
