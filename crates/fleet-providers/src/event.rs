//! The one shape every provider's reports are mapped to.

use std::borrow::Cow;

use jiff::Timestamp;
use uuid::Uuid;

use crate::attributes::Attributes;
use crate::dropped::DroppedValue;

/// One report about one vehicle, as the provider observed it.
///
/// All times are UTC, truncated to microseconds, and never later than the message's `received_at` plus the
/// tolerated clock skew.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleEvent<'a> {
    /// UUIDv5 over `slug:provider_vehicle_id`; see [`crate::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own name of the vehicle, trimmed, case kept.
    pub provider_vehicle_id: Cow<'a, str>,
    /// Stable identity of this event: the same report always maps to the same id.
    pub event_id: Uuid,
    /// The provider's name for the type of event, such as `status` or `VehicleStateRecorded`.
    pub kind: Cow<'a, str>,
    /// The provider's own id of the event, where it sends one.
    pub provider_event_id: Option<Cow<'a, str>>,
    /// When the vehicle observed it, or the message's `received_at` if the provider did not say.
    pub observed_at: Timestamp,
    /// When its message was received, to the millisecond, and its place in the message in microseconds behind: so the order
    /// of events is that of their receipt, also within a message.
    pub received_at: Timestamp,
    /// A time in the event cannot be true or cannot be read, and another one was used.
    pub clock_skewed: bool,
    /// What the event says about the vehicle.
    pub attributes: Attributes,
    /// What is there and not used.
    pub dropped: Vec<DroppedValue<'a>>,
    /// The event alone, as a JSON object: the provider's own text where it sent JSON, but that U+0000, half of a surrogate
    /// pair and bytes that are no UTF-8 are U+FFFD.
    pub raw: Cow<'a, str>,
}
