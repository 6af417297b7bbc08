//! The input of a parser.

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
    /// The unchanged bytes of the body.
    pub body: &'a [u8],
}

/// One event as telemetry stores it, with data from its message.
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

/// The limits for messages and events.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most events in one message. A message with more is refused.
    pub max_events: usize,
    /// Deepest nesting of an event. An event that is nested deeper is refused.
    pub max_depth: usize,
    /// A time longer than this before `received_at` is implausible: the device's clock has lost its date. If
    /// [`Limits::max_age`] is longer, it applies instead.
    pub max_plausible_age: SignedDuration,
    /// A time longer than this after `received_at` is implausible: the device's clock is skewed.
    pub max_clock_skew: SignedDuration,
    /// An event observed longer than this before `received_at` is refused.
    pub max_age: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_events: 10_000,
            max_depth: 64,
            // Clocks that have lost their date restart in 1970, 1980 or 2000, or are 1,024 weeks late. A value that has not
            // changed since the vehicle was new is not as old as that.
            max_plausible_age: SignedDuration::from_hours(5 * 366 * 24),
            max_clock_skew: SignedDuration::from_mins(5),
            max_age: SignedDuration::from_hours(90 * 24),
        }
    }
}
