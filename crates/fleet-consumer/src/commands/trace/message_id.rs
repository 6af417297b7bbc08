//! The id of a message, as an operator passes it.

use jiff::Timestamp;
use uuid::Uuid;

const NO_ID: &str = "this is not a UUID. Pass the x-request-id of the response to the webhook, such as \
                     0197533e-84bb-7d71-8d6c-3c1f0a2b4c5d; logs and tables call it message_id";

const NO_TIME: &str = "this UUID is not a UUIDv7, so it is not the id of a webhook. Pass the x-request-id of the \
                       response. If it is the id of a dead letter whose envelope cannot be read, use `fleet-consumer \
                       dead-letters show`";

/// The id of a message, and the time in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId {
    pub(super) id: Uuid,
    pub(super) received_at: Timestamp,
}

impl MessageId {
    /// Reads an `x-request-id`.
    ///
    /// # Errors
    ///
    /// What to pass instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let id: Option<Uuid> = text.trim().parse().ok();
        match (id, id.and_then(time_of)) {
            (Some(id), Some(received_at)) => Ok(Self { id, received_at }),
            (Some(_), None) => Err(NO_TIME.to_owned()),
            (None, _) => Err(NO_ID.to_owned()),
        }
    }
}

/// The time in a UUIDv7.
pub(super) fn time_of(id: Uuid) -> Option<Timestamp> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}
