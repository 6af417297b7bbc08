//! Parses a batch a slice at a time, so that its memory does not depend on how many events its messages have.

use std::collections::BTreeMap;

use bytes::Bytes;
use fleet_providers::{Limits, Provider};
use fleet_store::EmptyMessage;

use crate::batch::long_message::LongMessage;
use crate::batch::parse::{Parsed, parse};
use crate::batch::record::{Record, reject_item};
use crate::batch::rejection::Rejection;
use crate::batch::unused_values::UnusedValues;
use crate::metrics::batches::BatchCounts;
use crate::metrics::dropped::DroppedCounts;

/// A slice ends with the message that brings it to so many records. Six batches in progress then need far less than the
/// memory of the deployment, and a usual batch, a thousand messages with one or two events each, is one slice.
pub(crate) const SLICE_RECORDS: usize = 2_000;

/// The same for large batches, of which few are in progress at a time. Parsing a slice again costs more than its memory.
pub(crate) const LARGE_SLICE_RECORDS: usize = 15_000;

/// How a batch is parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsing<'a> {
    pub(crate) provider: &'static Provider,
    pub(crate) limits: &'a Limits,
    /// A slice ends with the message that brings it to so many records.
    pub(crate) slice_records: usize,
}

/// The rest of a batch. A clone parses the same records again, with the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Slices<'a> {
    parsing: Parsing<'a>,
    items: &'a [Bytes],
    /// Messages that must not be parsed, by their index.
    poison: &'a BTreeMap<usize, Rejection>,
    /// Index of the next message.
    index: usize,
    /// The message in whose middle the last slice ended.
    long: Option<Box<LongMessage<'a>>>,
    /// How many records the slices before had.
    records: usize,
}

/// Consecutive records of a batch.
#[derive(Debug, Default)]
pub(crate) struct Slice<'a> {
    /// The number of the first record in the batch.
    pub(crate) first_record: usize,
    pub(crate) records: Vec<Record<'a>>,
    /// Messages without any record.
    pub(crate) empty: Vec<EmptyMessage>,
    counts: BatchCounts,
}

/// The counts of a whole batch.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) records: usize,
    pub(crate) counts: BatchCounts,
    pub(crate) dropped: DroppedCounts,
}

impl Tally {
    pub(crate) fn add(&mut self, slice: &Slice<'_>, unused_values: &UnusedValues) {
        self.records += slice.records.len();
        self.counts.add(slice.counts);
        unused_values.note(&slice.records, &mut self.dropped);
    }
}

impl<'a> Slices<'a> {
    pub(crate) fn new(
        parsing: Parsing<'a>,
        items: &'a [Bytes],
        poison: &'a BTreeMap<usize, Rejection>,
    ) -> Self {
        Self { parsing, items, poison, index: 0, long: None, records: 0 }
    }

    /// Whether there is no further slice.
    pub(crate) fn is_done(&self) -> bool {
        self.long.is_none() && self.index == self.items.len()
    }

    /// Parses the messages of the next slice. The last slice may have no record.
    pub(crate) fn next_slice(&mut self) -> Slice<'a> {
        let size = self.parsing.slice_records.max(1);
        let left = self.items.len().saturating_sub(self.index);
        let mut slice = Slice {
            first_record: self.records,
            records: Vec::with_capacity(left.min(size)),
            ..Slice::default()
        };
        while slice.records.len() < size {
            if let Some(mut long) = self.long.take() {
                let is_over = long.read(size, &mut slice.records);
                self.long = (!is_over).then_some(long);
            } else if let Some(item) = self.items.get(self.index) {
                self.parse_message(item, &mut slice);
                self.index += 1;
            } else {
                break;
            }
        }
        slice.counts.skewed = skewed(&slice.records);
        self.records += slice.records.len();
        slice
    }

    fn parse_message(&mut self, item: &'a [u8], slice: &mut Slice<'a>) {
        let counts = &mut slice.counts;
        if let Some(rejection) = self.poison.get(&self.index) {
            counts.add_message(false);
            return slice.records.push(reject_item(item, rejection.clone()));
        }
        let before = slice.records.len();
        match parse(self.parsing.provider, self.parsing.limits, item, &mut slice.records) {
            Parsed::Whole => {}
            Parsed::Empty(message) => {
                counts.empty += 1;
                slice.empty.push(message);
                return;
            }
            Parsed::Long(long) => {
                counts.add_message(long.has_storable());
                self.long = Some(long);
                return;
            }
        }
        counts.add_message(slice.records[before..].iter().any(|record| record.outcome.is_ok()));
    }
}

fn skewed(records: &[Record<'_>]) -> u64 {
    let is_skewed = |record: &&Record<'_>| record.outcome.as_ref().is_ok_and(|event| event.clock_skewed);
    u64::try_from(records.iter().filter(is_skewed).count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use fleet_queue::Envelope;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::batch::parse::parse_item;

    fn item(body: &str) -> Bytes {
        let envelope = Envelope {
            message_id: Uuid::now_v7(),
            received_at: Timestamp::now(),
            topic: "",
            content_type: None,
            traceparent: None,
            body: body.as_bytes(),
        };
        envelope.encode().into()
    }

    /// An array of events, some of them bad.
    fn array(events: usize, is_bad: impl Fn(usize) -> bool) -> Bytes {
        let event = |index| format!(r#"{{"sn":"{}"}}"#, if is_bad(index) { "" } else { "V" });
        item(&format!("[{}]", (0..events).map(event).collect::<Vec<_>>().join(",")))
    }

    fn batch() -> Vec<Bytes> {
        let mut items = vec![
            item(r#"{"sn":"A"}"#),
            item("[]"),
            item("nonsense"),
            Bytes::from_static(b"no envelope"),
            array(3, |index| index == 1),
            array(5_000, |_| false),
            array(2_500, |index| index % 100 == 7),
            array(2_000, |_| true),
            array(1_001, |index| index == 1_000),
            item("[]"),
        ];
        let longer = items[5].to_vec();
        // An array that is cut off.
        items.push(Bytes::from(longer[..longer.len() - 5].to_vec()));
        items
    }

    fn niu() -> &'static Provider {
        fleet_providers::provider("niu").unwrap()
    }

    fn text(record: &Record<'_>) -> String {
        format!("{} {} {:?}", record.message.message_id, record.event_index, record.outcome)
    }

    #[test]
    fn slices_of_any_size_are_the_batch() {
        let (items, limits, poison) = (batch(), Limits::default(), BTreeMap::new());
        let mut whole = Vec::new();
        for item in &items {
            parse_item(niu(), &limits, item, &mut whole);
        }
        let whole: Vec<_> = whole.iter().map(text).collect();
        for slice_records in [1, 7, 1_000, 2_000, 10_000] {
            let parsing = Parsing { provider: niu(), limits: &limits, slice_records };
            let mut slices = Slices::new(parsing, &items, &poison);
            let (mut records, mut counts, mut empty) = (Vec::new(), BatchCounts::default(), 0);
            while !slices.is_done() {
                let slice = slices.next_slice();
                assert_eq!(slice.first_record, records.len());
                assert!(slice.records.len() <= slice_records + 1_000);
                records.extend(slice.records.iter().map(text));
                empty += slice.empty.len();
                counts.add(slice.counts);
            }
            assert!(records == whole, "{slice_records}: {} and {}", records.len(), whole.len());
            assert_eq!((counts.applied, counts.dead, counts.empty, empty), (6, 3, 2, 2), "{slice_records}");
        }
    }

    #[test]
    fn a_poison_message_is_one_record() {
        let (items, limits) = (batch(), Limits::default());
        let poison = BTreeMap::from([(5, Rejection::crashed("on purpose"))]);
        let parsing = Parsing { provider: niu(), limits: &limits, slice_records: usize::MAX };
        let slice = Slices::new(parsing, &items, &poison).next_slice();
        let found = slice.records.iter().find(|record| record.outcome == Err(poison[&5].clone()));
        assert_eq!(found.map(|record| record.event_index), Some(-1));
    }

    /// The memory of a slice depends on it.
    #[test]
    fn a_record_takes_less_than_a_kilobyte() {
        assert!(size_of::<Record<'_>>() < 1024, "{}", size_of::<Record<'_>>());
    }

    #[test]
    fn a_usual_batch_is_one_slice() {
        let items: Vec<_> = (0..1_000).map(|_| array(2, |_| false)).collect();
        let (limits, poison) = (Limits::default(), BTreeMap::new());
        let parsing = Parsing { provider: niu(), limits: &limits, slice_records: SLICE_RECORDS };
        let mut slices = Slices::new(parsing, &items, &poison);
        assert_eq!(slices.next_slice().records.len(), 2_000);
        assert!(slices.is_done());
    }
}
