//! From a queued message to its records.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_providers::{Events, Limits, Message, Provider};
use fleet_queue::{Envelope, TRUNCATED};
use fleet_store::EmptyMessage;

use crate::batch::event_counts::EventCounts;
use crate::batch::long_message::LongMessage;
use crate::batch::record::{QueuedMessage, Record};
use crate::batch::rejection::Rejection;

/// A message with more events is parsed twice: once to count its events, and then a slice at a time.
const LONG_MESSAGE: usize = 1_000;

/// Appends the records of one queue item. A message without events (an empty array) has none.
pub fn parse_item<'a>(provider: &Provider, limits: &Limits, item: &'a [u8], records: &mut Vec<Record<'a>>) {
    match parse(provider, limits, item, records) {
        Parsed::Whole | Parsed::Empty(_) => {}
        Parsed::Long(mut message) => {
            message.read(usize::MAX, records);
        }
    }
}

/// How much of an item has been parsed.
pub(crate) enum Parsed<'a> {
    /// All of it. Its records are appended.
    Whole,
    /// All of it, and it has no event.
    Empty(EmptyMessage),
    /// Its events are counted. Its records are still to be read.
    Long(Box<LongMessage<'a>>),
}

/// Appends the records of one queue item, unless they are many.
pub(crate) fn parse<'a>(
    provider: &Provider,
    limits: &Limits,
    item: &'a [u8],
    records: &mut Vec<Record<'a>>,
) -> Parsed<'a> {
    let envelope = match Envelope::decode(item) {
        Ok(envelope) => envelope,
        Err(error) => {
            records.push(QueuedMessage::unreadable(item).whole(Rejection::envelope(error)));
            return Parsed::Whole;
        }
    };
    let message = QueuedMessage::new(item, &envelope);
    if envelope.content_type == Some(TRUNCATED) {
        records.push(message.whole(Rejection::too_large()));
        return Parsed::Whole;
    }
    let received = Message {
        topic: envelope.topic,
        content_type: envelope.content_type,
        received_at: envelope.received_at,
        body: envelope.body,
    };
    let before = records.len();
    // The parsers are pure, so a panic leaves nothing half done but the records of this message.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let events = provider.events(&received, limits)?;
        if events.size_hint().0 > LONG_MESSAGE {
            return Ok(Some(LongMessage::count(message, events)));
        }
        push_records(events, message, records);
        Ok(None)
    }));
    match read {
        Ok(Ok(Some(long))) => return Parsed::Long(Box::new(long)),
        Ok(Ok(None)) if records.len() == before => {
            let Envelope { message_id, received_at, .. } = envelope;
            return Parsed::Empty(EmptyMessage { message_id, received_at });
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => records.push(message.whole(Rejection::parse(&error))),
        Err(_panic) => {
            records.truncate(before);
            records.push(message.whole(Rejection::panic()));
        }
    }
    Parsed::Whole
}

fn push_records<'a>(events: Events<'a>, message: QueuedMessage<'a>, records: &mut Vec<Record<'a>>) {
    let before = records.len();
    let mut counts = EventCounts::default();
    for (event, event_index) in events.zip(0..) {
        counts.add(&event);
        let outcome = event.map_err(|error| Rejection::parse(&error));
        records.push(Record { message, event_index, outcome });
    }
    // Usually there is none. An event has about a kilobyte, so its records are not collected before this is known.
    if let Some(rejection) = counts.shared_rejection() {
        let own = records.split_off(before);
        records.extend(own.into_iter().filter(|record| record.outcome.is_ok()));
        records.push(message.whole(rejection));
    }
}
