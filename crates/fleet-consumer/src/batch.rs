//! From a claimed batch to records: pure, but for catching a parser's panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_providers::{Events, Limits, Message, ParseError, Provider, VehicleEvent};
use fleet_queue::{Envelope, EnvelopeError};
use fleet_runtime::logging::trace_id;
use fleet_store::{DeadLetter, EmptyMessage};
use jiff::Timestamp;
use uuid::Uuid;

/// Namespace of the ids of messages whose envelope cannot be read.
const UNREADABLE: Uuid = Uuid::from_u128(0x2b5e_9c51_3d0f_4a35_8f43_0d3b_6b58_9a17);

/// Index of a record that stands for a whole message.
const WHOLE_MESSAGE: i32 = -1;

/// Most dead letters of single events of one message.
const MAX_LETTERS: usize = 8;

/// A message of more events is parsed twice: once to judge it as a whole, and then a slice at a time.
const LONG_MESSAGE: usize = 1_000;

/// Why a record cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From [`REASONS`].
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

/// The reasons that no parser gives.
const OWN_REASONS: [&str; 6] = [
    "malformed_envelope",
    "unknown_envelope_version",
    "parser_panic",
    "consumer_killed",
    "rejected_by_database",
    "too_many_new_vehicles",
];

/// Every reason of a dead letter.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    ParseError::REASONS.iter().copied().chain(OWN_REASONS)
}

impl Fault {
    fn parse(error: &ParseError) -> Self {
        Self { reason: error.reason(), detail: error.to_string() }
    }

    fn envelope(error: EnvelopeError) -> Self {
        let reason = match error {
            EnvelopeError::UnknownVersion => "unknown_envelope_version",
            EnvelopeError::Malformed => "malformed_envelope",
        };
        Self { reason, detail: error.to_string() }
    }

    fn panic() -> Self {
        let detail = "the parser panicked; fix it, then replay this message".to_owned();
        Self { reason: "parser_panic", detail }
    }

    /// The message ends whoever parses it, in this way.
    pub fn killed(how: &str) -> Self {
        let detail = format!("parsing it ends the consumer: {how}; fix the parser, then replay this message");
        Self { reason: "consumer_killed", detail }
    }

    /// Its vehicles are new, and more than the cap takes.
    pub fn too_many_new_vehicles(provider: &str, per_minute: u32, events: usize) -> Self {
        let detail = format!(
            "{events} events of new vehicles beyond the {per_minute} that a consumer takes in a minute; if they are real, \
             raise FLEET_PROVIDERS__{}__MAX_NEW_VEHICLES_PER_MINUTE, then replay this message",
            provider.to_uppercase()
        );
        Self { reason: "too_many_new_vehicles", detail }
    }

    /// A database refused it.
    pub fn rejected(error: &impl std::fmt::Display) -> Self {
        Self { reason: "rejected_by_database", detail: error.to_string() }
    }
}

/// One queued message.
#[derive(Clone, Copy, Debug)]
pub struct QueuedMessage<'a> {
    /// The queue's item.
    pub item: &'a [u8],
    /// Its id, or one derived from its bytes.
    pub message_id: Uuid,
    /// When it was received, if that can be told.
    pub received_at: Option<Timestamp>,
    /// Its topic.
    pub topic: &'a str,
    /// Trace id of the request it came in.
    pub trace_id: Option<&'a str>,
}

impl<'a> QueuedMessage<'a> {
    /// The record that stands for all of it.
    fn whole(self, fault: Fault) -> Record<'a> {
        Record { message: self, event_index: WHOLE_MESSAGE, outcome: Err(fault) }
    }
}

/// What one transaction stores a piece of: an event, or a message without any usable one.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The message it came in.
    pub message: QueuedMessage<'a>,
    /// Which event of the message, or -1.
    pub event_index: i32,
    /// What it says.
    pub outcome: Result<VehicleEvent<'a>, Fault>,
}

impl<'a> Record<'a> {
    /// The dead letter this record becomes for `fault`.
    pub fn dead_letter(&self, fault: &Fault) -> DeadLetter<'a> {
        DeadLetter {
            message_id: self.message.message_id,
            event_index: self.event_index,
            reason: fault.reason,
            detail: fault.detail.escape_default().take(500).collect(),
            received_at: self.message.received_at,
            envelope: self.message.item,
        }
    }
}

/// Appends one queue item's records; a message without events (an empty array) has none.
pub fn parse_item<'a>(provider: &Provider, limits: &Limits, item: &'a [u8], records: &mut Vec<Record<'a>>) {
    match parse(provider, limits, item, records) {
        Parsed::Whole | Parsed::Empty(_) => {}
        Parsed::Long(mut message) => {
            message.read(usize::MAX, records);
        }
    }
}

/// What has been parsed of an item.
pub(crate) enum Parsed<'a> {
    /// All of it: its records are there.
    Whole,
    /// All of it, and it has no event.
    Empty(EmptyMessage),
    /// It is judged, and its records are still to be read.
    Long(Box<LongMessage<'a>>),
}

/// Appends one queue item's records, unless they are many.
pub(crate) fn parse<'a>(
    provider: &Provider,
    limits: &Limits,
    item: &'a [u8],
    records: &mut Vec<Record<'a>>,
) -> Parsed<'a> {
    let envelope = match Envelope::decode(item) {
        Ok(envelope) => envelope,
        Err(error) => {
            records.push(unreadable(item, Fault::envelope(error)));
            return Parsed::Whole;
        }
    };
    let message = queued(item, &envelope);
    let received = Message {
        topic: envelope.topic,
        content_type: envelope.content_type,
        received_at: envelope.received_at,
        body: envelope.body,
    };
    let before = records.len();
    // The parsers are pure: there is nothing a panic could leave half done.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let events = provider.events(&received, limits)?;
        if events.size_hint().0 > LONG_MESSAGE {
            return Ok(Some(LongMessage::judge(message, events)));
        }
        push_events(events.collect(), message, records);
        Ok(None)
    }));
    match read {
        Ok(Ok(Some(long))) => return Parsed::Long(Box::new(long)),
        Ok(Ok(None)) if records.len() == before => {
            let Envelope { message_id, received_at, .. } = envelope;
            return Parsed::Empty(EmptyMessage { message_id, received_at });
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => records.push(message.whole(Fault::parse(&error))),
        Err(_panic) => records.push(message.whole(Fault::panic())),
    }
    Parsed::Whole
}

fn push_events<'a>(
    events: Vec<Result<VehicleEvent<'a>, ParseError>>,
    message: QueuedMessage<'a>,
    records: &mut Vec<Record<'a>>,
) {
    let mut verdict = Verdict::default();
    events.iter().for_each(|event| verdict.note(event));
    for (event, event_index) in events.into_iter().zip(0..) {
        let outcome = verdict.outcome(event);
        records.extend(outcome.map(|outcome| Record { message, event_index, outcome }));
    }
    records.extend(verdict.summary().map(|fault| message.whole(fault)));
}

/// What the events of one message come to. Every event is a record. If more than [`MAX_LETTERS`] cannot be stored, those are a
/// single one: ten thousand dead letters of one message would say no more than the first, and a replay puts the whole
/// message back in any case.
#[derive(Clone, Debug, Default)]
struct Verdict {
    all: usize,
    refused: usize,
    /// The first event that cannot be stored, and why.
    first: Option<(usize, Fault)>,
}

impl Verdict {
    fn note(&mut self, event: &Result<VehicleEvent<'_>, ParseError>) {
        if let Err(error) = event {
            self.refused += 1;
            self.first.get_or_insert_with(|| (self.all, Fault::parse(error)));
        }
        self.all += 1;
    }

    /// What the record of an event says, if it has one of its own.
    fn outcome<'a>(
        &self,
        event: Result<VehicleEvent<'a>, ParseError>,
    ) -> Option<Result<VehicleEvent<'a>, Fault>> {
        match event {
            Err(_error) if self.refused > MAX_LETTERS => None,
            Err(error) => Some(Err(Fault::parse(&error))),
            Ok(event) => Some(Ok(event)),
        }
    }

    /// What stands for the events that have no record of their own.
    fn summary(&self) -> Option<Fault> {
        let Self { all, refused, first } = self;
        let (index, Fault { reason, detail }) = first.as_ref().filter(|_| *refused > MAX_LETTERS)?;
        let detail = format!("{refused} of {all} events, the first being event {index}: {detail}");
        Some(Fault { reason, detail })
    }
}

/// A message of many events, which is read a slice at a time.
#[derive(Clone, Debug)]
pub(crate) struct LongMessage<'a> {
    message: QueuedMessage<'a>,
    events: Events<'a>,
    verdict: Verdict,
    /// Of the next event.
    index: usize,
}

impl<'a> LongMessage<'a> {
    /// Parses all of it, and keeps nothing but the verdict: what panics does so here.
    fn judge(message: QueuedMessage<'a>, events: Events<'a>) -> Self {
        let mut verdict = Verdict::default();
        events.clone().for_each(|event| verdict.note(&event));
        Self { message, events, verdict, index: 0 }
    }

    /// Whether an event of it can be stored.
    pub(crate) fn has_events(&self) -> bool {
        self.verdict.refused < self.verdict.all
    }

    /// Appends records until there are `size`; tells whether those were the last.
    pub(crate) fn read(&mut self, size: usize, records: &mut Vec<Record<'a>>) -> bool {
        while records.len() < size && self.index < self.verdict.all {
            let Some(event) = self.events.next() else {
                // Parsers are pure; one that is not, and finds less at the second reading, must not be asked for ever.
                self.index = self.verdict.all;
                break;
            };
            let event_index = i32::try_from(self.index).unwrap_or(i32::MAX);
            self.index += 1;
            let outcome = self.verdict.outcome(event);
            records.extend(outcome.map(|outcome| Record { message: self.message, event_index, outcome }));
        }
        let is_over = self.index >= self.verdict.all;
        if is_over {
            records.extend(self.verdict.summary().map(|fault| self.message.whole(fault)));
        }
        is_over
    }
}

/// The record of an item that must not be parsed.
pub fn refuse_item(item: &[u8], fault: Fault) -> Record<'_> {
    match Envelope::decode(item) {
        Ok(envelope) => queued(item, &envelope).whole(fault),
        Err(_unreadable) => unreadable(item, fault),
    }
}

fn queued<'a>(item: &'a [u8], envelope: &Envelope<'a>) -> QueuedMessage<'a> {
    QueuedMessage {
        item,
        message_id: envelope.message_id,
        received_at: Some(envelope.received_at),
        topic: envelope.topic,
        trace_id: trace_id(envelope.traceparent),
    }
}

fn unreadable(item: &[u8], fault: Fault) -> Record<'_> {
    let message_id = Uuid::new_v5(&UNREADABLE, item);
    QueuedMessage { item, message_id, received_at: None, topic: "", trace_id: None }.whole(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_has_fewer_events_at_the_second_reading_is_over() {
        let body = format!("[{}]", vec![r#"{"sn":"V"}"#; LONG_MESSAGE + 1].join(","));
        let envelope = Envelope {
            message_id: Uuid::now_v7(),
            received_at: Timestamp::now(),
            topic: "",
            content_type: None,
            traceparent: None,
            body: body.as_bytes(),
        };
        let (item, mut records) = (envelope.encode(), Vec::new());
        let niu = fleet_providers::provider("niu").unwrap();
        let Parsed::Long(mut message) = parse(niu, &Limits::default(), &item, &mut records) else {
            panic!("it is not long");
        };
        message.verdict.all += 1;
        assert!(!message.read(LONG_MESSAGE, &mut records));
        assert!(message.read(usize::MAX, &mut records));
        assert_eq!(records.len(), LONG_MESSAGE + 1);
    }
}
