//! From a claimed batch to records: pure, but for catching a parser's panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_providers::{Limits, Message, ParseError, Provider, VehicleEvent};
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
    ParseError::REASONS.into_iter().chain(OWN_REASONS)
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

    /// The message ended the consumers that parsed it.
    pub fn killed() -> Self {
        let detail =
            "parsing it ended the consumer again and again; fix the parser, then replay it".to_owned();
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
    let envelope = match Envelope::decode(item) {
        Ok(envelope) => envelope,
        Err(error) => return records.push(unreadable(item, Fault::envelope(error))),
    };
    let message = queued(item, &envelope);
    let received = Message {
        topic: envelope.topic,
        content_type: envelope.content_type,
        received_at: envelope.received_at,
        body: envelope.body,
    };
    // The parsers are pure: there is nothing a panic could leave half done.
    let parsed = catch_unwind(AssertUnwindSafe(|| provider.parse(&received, limits)));
    let whole = |fault| Record { message, event_index: WHOLE_MESSAGE, outcome: Err(fault) };
    match parsed {
        Ok(Ok(events)) => push_events(events, message, records),
        Ok(Err(error)) => records.push(whole(Fault::parse(&error))),
        Err(_panic) => records.push(whole(Fault::panic())),
    }
}

/// The messages of a batch that have no record, because they have no event.
pub fn empty_messages<'a>(
    items: impl Iterator<Item = &'a [u8]>,
    records: &[Record<'_>],
) -> Vec<EmptyMessage> {
    let mut records = records.iter().peekable();
    let mut empty = Vec::new();
    for item in items {
        let mut has_record = false;
        while records.next_if(|record| std::ptr::eq(record.message.item, item)).is_some() {
            has_record = true;
        }
        if let (false, Ok(Envelope { message_id, received_at, .. })) = (has_record, Envelope::decode(item)) {
            empty.push(EmptyMessage { message_id, received_at });
        }
    }
    empty
}

/// Every event is a record. If more than [`MAX_LETTERS`] cannot be stored, those are a single one: ten thousand dead letters
/// of one message would say no more than the first, and a replay puts the whole message back in any case.
fn push_events<'a>(
    events: Vec<Result<VehicleEvent<'a>, ParseError>>,
    message: QueuedMessage<'a>,
    records: &mut Vec<Record<'a>>,
) {
    let all = events.len();
    let refused = events.iter().filter(|event| event.is_err()).count();
    let mut summary = None;
    for (event, event_index) in events.into_iter().zip(0..) {
        match event {
            Err(error) if refused > MAX_LETTERS => {
                summary.get_or_insert_with(|| {
                    let detail =
                        format!("{refused} of {all} events, the first being event {event_index}: {error}");
                    Fault { reason: error.reason(), detail }
                });
            }
            event => {
                let outcome = event.map_err(|error| Fault::parse(&error));
                records.push(Record { message, event_index, outcome });
            }
        }
    }
    let whole = |fault| Record { message, event_index: WHOLE_MESSAGE, outcome: Err(fault) };
    records.extend(summary.map(whole));
}

/// The record of an item that must not be parsed.
pub fn refuse_item(item: &[u8], fault: Fault) -> Record<'_> {
    match Envelope::decode(item) {
        Ok(envelope) => {
            Record { message: queued(item, &envelope), event_index: WHOLE_MESSAGE, outcome: Err(fault) }
        }
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
    let message = QueuedMessage { item, message_id, received_at: None, topic: "", trace_id: None };
    Record { message, event_index: WHOLE_MESSAGE, outcome: Err(fault) }
}
