//! Decides which times are plausible.

use jiff::{SignedDuration, Timestamp};

use crate::message::{Limits, Message};
use crate::time::to_millisecond;

/// The plausible times of an event, relative to the receipt of its message. Not relative to now, so that a redelivery or a
/// replay gives the same result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plausible {
    /// When the message was received, to the millisecond.
    pub(crate) received_at: Timestamp,
    oldest: Timestamp,
    latest: Timestamp,
    oldest_kept: Timestamp,
}

impl Plausible {
    /// The plausible times for this message.
    pub(crate) fn new(message: &Message<'_>, limits: &Limits) -> Self {
        let received_at = to_millisecond(message.received_at);
        let before = |age: SignedDuration| received_at.checked_sub(age).unwrap_or(Timestamp::MIN);
        Self {
            received_at,
            // PostgreSQL's calendar begins later than this one. No event was observed before the epoch.
            oldest: before(limits.max_plausible_age.max(limits.max_age)).max(Timestamp::UNIX_EPOCH),
            latest: received_at.checked_add(limits.max_clock_skew).unwrap_or(Timestamp::MAX),
            oldest_kept: before(limits.max_age),
        }
    }

    /// Whether a time is plausible. The newest time wins, so a fix with a time in the future would freeze the vehicle until
    /// then.
    pub(crate) fn includes(&self, time: Timestamp) -> bool {
        (self.oldest..=self.latest).contains(&time)
    }

    /// Whether the time is before the retention period.
    pub(crate) fn is_too_old(&self, time: Timestamp) -> bool {
        time < self.oldest_kept
    }
}
