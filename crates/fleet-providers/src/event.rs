//! The one shape every provider's reports are mapped to.

use std::borrow::Cow;

use jiff::Timestamp;
use uuid::Uuid;

use crate::DroppedValue;

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

/// The attributes an event carries; an absent one says nothing about the vehicle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attributes {
    /// Where the vehicle is.
    pub position: Option<Timed<Position>>,
    /// Ground speed, km/h, 0 to 400.
    pub speed_kmh: Option<Timed<f64>>,
    /// Charge of the traction battery (or fuel level), percent, 0 to 100.
    pub battery_percent: Option<Timed<f64>>,
    /// Remaining range, whole metres.
    pub range_m: Option<Timed<i32>>,
    /// Total distance driven, whole metres.
    pub odometer_m: Option<Timed<i32>>,
    /// The vehicle's electronics are on: it can be driven.
    pub powered_on: Option<Timed<bool>>,
    /// The vehicle is locked (or its alarm armed).
    pub locked: Option<Timed<bool>>,
    /// The traction battery is charging.
    pub charging: Option<Timed<bool>>,
    /// The vehicle has a connection to the provider.
    pub online: Option<Timed<bool>>,
}

/// A value, the time at which it was true, and when it was heard of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed<T> {
    /// The value.
    pub value: T,
    /// When it was observed.
    pub at: Timestamp,
    /// Of two values of one time, the one that was received later counts; see [`VehicleEvent::received_at`].
    pub received_at: Timestamp,
}

/// A fix, in the datum the provider sends (WGS-84 but for NIU's mainland-China servers, which send GCJ-02).
///
/// All numbers are finite, and never negative zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Degrees, -90 to 90.
    pub lat: f64,
    /// Degrees, -180 to 180.
    pub lon: f64,
    /// Metres above the ellipsoid or sea level, as the provider means it.
    pub altitude_m: Option<f64>,
    /// Degrees clockwise from north, 0 to 360.
    pub heading_deg: Option<f64>,
    /// Radius of uncertainty, metres.
    pub accuracy_m: Option<f64>,
}
