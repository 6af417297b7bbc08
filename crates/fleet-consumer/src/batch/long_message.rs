//! A message of many events, which is read a slice at a time.

use fleet_providers::Events;

use crate::batch::event_counts::EventCounts;
use crate::batch::record::{QueuedMessage, Record};

/// A message whose events have been parsed once, to count them. [`Self::read`] parses them again, a slice at a time.
#[derive(Clone, Debug)]
pub(crate) struct LongMessage<'a> {
    message: QueuedMessage<'a>,
    events: Events<'a>,
    counts: EventCounts,
    /// Index of the next event.
    index: usize,
}

impl<'a> LongMessage<'a> {
    /// Parses all events and keeps only their counts. If the parser panics, it does so here.
    pub(crate) fn count(message: QueuedMessage<'a>, events: Events<'a>) -> Self {
        let mut counts = EventCounts::default();
        events.clone().for_each(|event| counts.add(&event));
        Self { message, events, counts, index: 0 }
    }

    /// Whether any event can be stored.
    pub(crate) fn has_storable(&self) -> bool {
        self.counts.has_storable()
    }

    /// Appends records until there are `size`. Returns whether those were the last.
    pub(crate) fn read(&mut self, size: usize, records: &mut Vec<Record<'a>>) -> bool {
        while records.len() < size && self.index < self.counts.all() {
            let Some(event) = self.events.next() else {
                // Parsers are pure. If one is not, and finds fewer events the second time, this must still end.
                self.index = self.counts.all();
                break;
            };
            let event_index = i32::try_from(self.index).unwrap_or(i32::MAX);
            self.index += 1;
            let outcome = self.counts.outcome(event);
            records.extend(outcome.map(|outcome| Record { message: self.message, event_index, outcome }));
        }
        let is_over = self.index >= self.counts.all();
        if is_over {
            let rejection = self.counts.shared_rejection();
            records.extend(rejection.map(|rejection| self.message.whole(rejection)));
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use fleet_providers::{Limits, Message, ParseError};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_message_that_has_fewer_events_the_second_time_is_over() {
        let body = format!("[{}]", vec![r#"{"sn":"V"}"#; 1_001].join(","));
        let received =
            Message { topic: "", content_type: None, received_at: Timestamp::now(), body: body.as_bytes() };
        let niu = fleet_providers::provider("niu").unwrap();
        let events = niu.events(&received, &Limits::default()).unwrap();
        let mut message = LongMessage::count(QueuedMessage::unreadable(b""), events);
        message.counts.add(&Err(ParseError::MissingVehicleId));
        let mut records = Vec::new();
        assert!(!message.read(1_000, &mut records));
        assert!(message.read(usize::MAX, &mut records));
        assert_eq!(records.len(), 1_001);
    }
}
