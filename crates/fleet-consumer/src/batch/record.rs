//! Records: the unit that is stored and counted.

use fleet_providers::VehicleEvent;
use fleet_queue::Envelope;
use fleet_runtime::logging::trace_id;
use fleet_store::DeadLetter;
use jiff::Timestamp;
use uuid::Uuid;

use crate::batch::rejection::Rejection;

/// Namespace of the ids of messages whose envelope cannot be read.
const UNREADABLE: Uuid = Uuid::from_u128(0x2b5e_9c51_3d0f_4a35_8f43_0d3b_6b58_9a17);

/// Index of a record that stands for a whole message.
const WHOLE_MESSAGE: i32 = -1;

/// One queued message.
#[derive(Clone, Copy, Debug)]
pub struct QueuedMessage<'a> {
    /// The queue's item.
    pub item: &'a [u8],
    /// Its id, or one derived from its bytes.
    pub message_id: Uuid,
    /// When it was received, if its envelope can be read.
    pub received_at: Option<Timestamp>,
    /// Its topic.
    pub topic: &'a str,
    /// Trace id of the request it came in.
    pub trace_id: Option<&'a str>,
}

impl<'a> QueuedMessage<'a> {
    pub(crate) fn new(item: &'a [u8], envelope: &Envelope<'a>) -> Self {
        Self {
            item,
            message_id: envelope.message_id,
            received_at: Some(envelope.received_at),
            topic: envelope.topic,
            trace_id: trace_id(envelope.traceparent),
        }
    }

    /// A message whose envelope cannot be read.
    pub(crate) fn unreadable(item: &'a [u8]) -> Self {
        let message_id = Uuid::new_v5(&UNREADABLE, item);
        Self { item, message_id, received_at: None, topic: "", trace_id: None }
    }

    /// The record that stands for all of it.
    pub(crate) fn whole(self, rejection: Rejection) -> Record<'a> {
        Record { message: self, event_index: WHOLE_MESSAGE, outcome: Err(rejection) }
    }
}

/// An event, or a message without any event that can be stored.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The message it came in.
    pub message: QueuedMessage<'a>,
    /// Which event of the message, or -1 for all of it.
    pub event_index: i32,
    /// The event, or why it becomes a dead letter.
    pub outcome: Result<VehicleEvent<'a>, Rejection>,
}

impl<'a> Record<'a> {
    /// The dead letter that this record becomes.
    pub(crate) fn dead_letter(&self, rejection: &Rejection) -> DeadLetter<'a> {
        DeadLetter {
            message_id: self.message.message_id,
            event_index: self.event_index,
            reason: rejection.reason,
            detail: rejection.detail.escape_default().take(500).collect(),
            received_at: self.message.received_at,
            envelope: self.message.item,
        }
    }
}

/// The record of an item that must not be parsed.
pub(crate) fn reject_item(item: &[u8], rejection: Rejection) -> Record<'_> {
    let message = match Envelope::decode(item) {
        Ok(envelope) => QueuedMessage::new(item, &envelope),
        Err(_unreadable) => QueuedMessage::unreadable(item),
    };
    message.whole(rejection)
}
