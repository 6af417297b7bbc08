//! Splits a slice into ranges of records, each of which is stored in one transaction.

use std::ops::Range;

use fleet_store::{EmptyMessage, Part};
use jiff::Timestamp;
use rustc_hash::FxHashSet;
use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;
use crate::batch::slices::Slice;
use crate::database_kind::DatabaseKind;

/// Most bytes of a statement's events and dead letters, unless it has a single record. A statement's parameters are
/// copied several times on their way to the server.
pub(crate) const MAX_STATEMENT_BYTES: usize = 2 * 1024 * 1024;

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
    /// All ranges of the slice, the last one first. Without any record there is one empty range, to note the messages. Each
    /// range has at most `max_rows` rows: telemetry has one for each record, and the state one for each vehicle.
    pub(crate) fn ranges(&self, max_rows: usize) -> Vec<RecordRange> {
        let records = &self.slice.records;
        if records.is_empty() && !self.empty.is_empty() {
            return vec![RecordRange::new(0..0)];
        }
        let mut ranges = Vec::new();
        let (mut start, mut size) = (0, RangeSize::new(self.database));
        for (index, record) in records.iter().enumerate() {
            if index > start && !size.has_room(record, max_rows) {
                ranges.push(RecordRange::new(start..index));
                (start, size) = (index, RangeSize::new(self.database));
            }
            size.add(record);
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

/// What a transaction writes.
enum RangeSize {
    /// Vehicles.
    State { vehicles: FxHashSet<Uuid> },
    /// Events and dead letters.
    Telemetry { records: usize, bytes: usize },
}

impl RangeSize {
    fn new(database: DatabaseKind) -> Self {
        match database {
            DatabaseKind::State => Self::State { vehicles: FxHashSet::default() },
            DatabaseKind::Telemetry => Self::Telemetry { records: 0, bytes: 0 },
        }
    }

    fn has_room(&self, record: &Record<'_>, max_rows: usize) -> bool {
        match self {
            Self::State { vehicles } => {
                vehicles.len() < max_rows || vehicle(record).is_none_or(|vehicle| vehicles.contains(&vehicle))
            }
            Self::Telemetry { records, bytes } => {
                *records < max_rows && bytes + statement_bytes(record) <= MAX_STATEMENT_BYTES
            }
        }
    }

    fn add(&mut self, record: &Record<'_>) {
        match self {
            Self::State { vehicles } => vehicles.extend(vehicle(record)),
            Self::Telemetry { records, bytes } => {
                *records += 1;
                *bytes += statement_bytes(record);
            }
        }
    }
}

fn vehicle(record: &Record<'_>) -> Option<Uuid> {
    record.outcome.as_ref().ok().map(|event| event.vehicle_id)
}

/// About how many bytes of a statement a record takes: its text, or the envelope of a dead letter.
fn statement_bytes(record: &Record<'_>) -> usize {
    record.outcome.as_ref().map_or(record.message.item.len(), |event| event.raw.len())
}

/// A batch has few MiB of messages, so it has far fewer records than an `i32` can count.
pub(crate) fn record_number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
