//! Which times can be true.

use jiff::{SignedDuration, Timestamp};

use crate::message::{Limits, Message};
use crate::time::to_millisecond;

/// Which times of an event are believed, judged against the moment at which its message was received. Never against now, so
/// that a redelivery or a replay decides the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plausible {
    /// When the message was received, to the millisecond.
    pub(crate) received_at: Timestamp,
    oldest: Timestamp,
    latest: Timestamp,
    oldest_kept: Timestamp,
}

impl Plausible {
    /// The times that are believed in this message.
    pub(crate) fn new(message: &Message<'_>, limits: &Limits) -> Self {
        let received_at = to_millisecond(message.received_at);
        let before = |age: SignedDuration| received_at.checked_sub(age).unwrap_or(Timestamp::MIN);
        Self {
            received_at,
            // Nothing was observed before the epoch, and PostgreSQL's calendar begins later than the one here.
            oldest: before(limits.max_plausible_age.max(limits.max_age)).max(Timestamp::UNIX_EPOCH),
            latest: received_at.checked_add(limits.max_clock_skew).unwrap_or(Timestamp::MAX),
            oldest_kept: before(limits.max_age),
        }
    }

    /// One future-dated fix must not freeze a vehicle until that future comes, and one of a clock that has lost its date
    /// must not freeze it until its date is back.
    pub(crate) fn includes(&self, time: Timestamp) -> bool {
        (self.oldest..=self.latest).contains(&time)
    }

    /// Whether that was before everything that is kept.
    pub(crate) fn is_too_old(&self, time: Timestamp) -> bool {
        time < self.oldest_kept
    }
}
