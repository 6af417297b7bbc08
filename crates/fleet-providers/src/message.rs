//! What a parser is given.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// One accepted webhook, as the queue's envelope carries it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The part of the request path below `/webhooks/{provider}/`; empty if there is none.
    pub topic: &'a str,
    /// The media type of the body without parameters, lower case, such as `application/json`.
    pub content_type: Option<&'a str>,
    /// When the API received the request, to the millisecond; every time in the body is judged against it.
    pub received_at: Timestamp,
    /// The body's bytes, untouched.
    pub body: &'a [u8],
}

/// One event as telemetry keeps it, with what its message said about it.
#[derive(Clone, Copy, Debug)]
pub struct StoredEvent<'a> {
    /// The message's topic.
    pub topic: &'a str,
    /// [`crate::VehicleEvent::received_at`].
    pub received_at: Timestamp,
    /// [`crate::VehicleEvent::raw`].
    pub raw: &'a str,
    /// The id it is stored under.
    pub event_id: Uuid,
}

/// Bounds of what is taken as a meaningful message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// More events than this in one message are refused.
    pub max_events: usize,
    /// An event that is nested deeper than this is refused.
    pub max_depth: usize,
    /// A time longer than this before `received_at` is taken for a clock without a date, unless [`Limits::max_age`] is
    /// longer.
    pub max_plausible_age: SignedDuration,
    /// How far a time may lie beyond `received_at` before it is taken for a skewed clock.
    pub max_clock_skew: SignedDuration,
    /// An event observed longer than this before `received_at` is refused.
    pub max_age: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_events: 10_000,
            max_depth: 64,
            // Clocks that have lost their date begin in 1970, 1980 or 2000, or are 1,024 weeks late; a value that has not
            // changed since the vehicle was new is younger.
            max_plausible_age: SignedDuration::from_hours(5 * 366 * 24),
            max_clock_skew: SignedDuration::from_mins(5),
            max_age: SignedDuration::from_hours(90 * 24),
        }
    }
}
