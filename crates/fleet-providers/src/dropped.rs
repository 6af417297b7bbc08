//! Values that are there and are not used: how one notices that a provider has changed what it sends.

use std::borrow::Cow;

/// A value that an event carries and that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedValue<'a> {
    /// What it would have been about.
    pub attribute: Attribute,
    /// Why it is not used.
    pub reason: DropReason,
    /// The value as its sender wrote it, without quotation marks.
    pub written: Cow<'a, str>,
}

/// What an event can say, by the name of its column: a closed list for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// `lat` and `lon`.
    Position,
    /// `altitude_m`, which belongs to the position.
    Altitude,
    /// `heading_deg`, which belongs to the position.
    Heading,
    /// `accuracy_m`, which belongs to the position.
    Accuracy,
    /// `speed_kmh`.
    Speed,
    /// `battery_percent`.
    Battery,
    /// `range_m`.
    Range,
    /// `odometer_m`.
    Odometer,
    /// `powered_on`.
    PoweredOn,
    /// `locked`.
    Locked,
    /// `charging`.
    Charging,
    /// `online`.
    Online,
    /// `observed_at`, the event's own time.
    ObservedAt,
    /// `raw`, the event's text; or the object in it that holds the attributes.
    Raw,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Position,
        Self::Altitude,
        Self::Heading,
        Self::Accuracy,
        Self::Speed,
        Self::Battery,
        Self::Range,
        Self::Odometer,
        Self::PoweredOn,
        Self::Locked,
        Self::Charging,
        Self::Online,
        Self::ObservedAt,
        Self::Raw,
    ];

    /// Why a value of it can be lost.
    pub fn reasons(self) -> &'static [DropReason] {
        use DropReason::{
            InvalidCharacter, NoFix, NotUnderstood, OutOfRange, TimeImplausible, TimeNotUnderstood,
            UnknownType,
        };
        match self {
            Self::Position => &[NotUnderstood, OutOfRange, NoFix, TimeNotUnderstood, TimeImplausible],
            Self::Altitude | Self::Heading | Self::Accuracy => &[NotUnderstood, OutOfRange],
            Self::Speed | Self::Battery | Self::Range | Self::Odometer => {
                &[NotUnderstood, OutOfRange, TimeNotUnderstood, TimeImplausible]
            }
            Self::PoweredOn | Self::Locked | Self::Charging | Self::Online => {
                &[NotUnderstood, TimeNotUnderstood, TimeImplausible]
            }
            Self::ObservedAt => &[TimeNotUnderstood, TimeImplausible],
            Self::Raw => &[NotUnderstood, InvalidCharacter, UnknownType],
        }
    }

    /// The name in metric labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Altitude => "altitude_m",
            Self::Heading => "heading_deg",
            Self::Accuracy => "accuracy_m",
            Self::Speed => "speed_kmh",
            Self::Battery => "battery_percent",
            Self::Range => "range_m",
            Self::Odometer => "odometer_m",
            Self::PoweredOn => "powered_on",
            Self::Locked => "locked",
            Self::Charging => "charging",
            Self::Online => "online",
            Self::ObservedAt => "observed_at",
            Self::Raw => "raw",
        }
    }
}

/// Why a value is not used: a closed list for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// It is not of a type, in a notation or one of the words that this provider is known to send.
    NotUnderstood,
    /// It is a number that cannot be true.
    OutOfRange,
    /// The position 0/0, which units without a fix send.
    NoFix,
    /// Its time is there and cannot be read; the event's time is used, or the time of receipt if it is the event's own.
    TimeNotUnderstood,
    /// Its time cannot be true; the event's time is used, or the time of receipt if it is the event's own.
    TimeImplausible,
    /// A text has U+0000, half of a surrogate pair or bytes that are no UTF-8; each is stored as U+FFFD.
    InvalidCharacter,
    /// The event is of a type that nobody knows, and is not searched for attributes.
    UnknownType,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotUnderstood,
        Self::OutOfRange,
        Self::NoFix,
        Self::TimeNotUnderstood,
        Self::TimeImplausible,
        Self::InvalidCharacter,
        Self::UnknownType,
    ];

    /// The name in metric labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotUnderstood => "not_understood",
            Self::OutOfRange => "out_of_range",
            Self::NoFix => "no_fix",
            Self::TimeNotUnderstood => "time_not_understood",
            Self::TimeImplausible => "time_implausible",
            Self::InvalidCharacter => "invalid_character",
            Self::UnknownType => "unknown_type",
        }
    }
}
