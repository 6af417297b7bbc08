//! The event: the common form of all providers' reports.

use std::borrow::Cow;

use jiff::Timestamp;
use uuid::Uuid;

use crate::attributes::Attributes;
use crate::dropped::DroppedValue;

/// One report about one vehicle, as the provider observed it.
///
/// All times are UTC and truncated to microseconds. None is later than the message's `received_at` plus the
/// tolerated clock skew.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleEvent<'a> {
    /// UUIDv5 of `slug:provider_vehicle_id`; see [`crate::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own id of the vehicle, trimmed, in its original case.
    pub provider_vehicle_id: Cow<'a, str>,
    /// Stable id of this event: the same report always has the same id.
    pub event_id: Uuid,
    /// The provider's name of the event type, such as `status` or `VehicleStateRecorded`.
    pub kind: Cow<'a, str>,
    /// The provider's own id of the event, if it sends one.
    pub provider_event_id: Option<Cow<'a, str>>,
    /// When the vehicle observed it. The message's `received_at` if the provider gives no usable time.
    pub observed_at: Timestamp,
    /// When its message was received, to the millisecond, plus its place in the message in microseconds. Events
    /// are therefore ordered by receipt, also within a message.
    pub received_at: Timestamp,
    /// A time in the event is impossible or unreadable, and another one was used instead.
    pub clock_skewed: bool,
    /// What the event says about the vehicle.
    pub attributes: Attributes,
    /// Values that are present but not used.
    pub dropped: Vec<DroppedValue<'a>>,
    /// The event alone, as a JSON object. If the provider sent JSON, it is the original text, except that
    /// U+0000, unpaired surrogates and bytes that are not UTF-8 are replaced by U+FFFD.
    pub raw: Cow<'a, str>,
}
