//! The attributes of a vehicle. The list at the end of this file is the only one: the type of an event's attributes, their
//! merge, their names in metric labels and logs, and what `explain` and `replay` show all follow from it.

use crate::drop_reason::DropReason;
use crate::value::{self, Position, Timed, Value};

/// Parts of an event that have no time of their own.
const PARTS: usize = 5;

macro_rules! attributes {
    ($($(#[$documentation:meta])* $field:ident: $value:ty as $attribute:ident,)+) => {
        /// The attributes that an event carries. An absent one says nothing about the vehicle.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Attributes {
            $($(#[$documentation])* pub $field: Option<Timed<$value>>,)+
        }

        impl Attributes {
            /// How many attributes there are.
            pub const COUNT: usize = [$(Attribute::$attribute),+].len();

            /// Keeps the greater value of each attribute by (time, receipt, value). A maximum is commutative, associative
            /// and idempotent: neither order nor repetition changes the result. The database applies the same rule.
            pub fn merge(&mut self, other: &Self) {
                $(value::keep_greatest(&mut self.$field, other.$field);)+
            }

            /// Every attribute, in the order of the list, with its value as text.
            pub fn texts(&self) -> [(Attribute, Option<Timed<String>>); Self::COUNT] {
                [$((Attribute::$attribute, self.$field.map(value::text)),)+]
            }
        }

        /// What an event can say: a closed list, for metric labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Attribute {
            $($(#[$documentation])* $attribute,)+
            /// `altitude_m`, a part of the position.
            Altitude,
            /// `heading_deg`, a part of the position.
            Heading,
            /// `accuracy_m`, a part of the position.
            Accuracy,
            /// `observed_at`, the event's own time.
            ObservedAt,
            /// `raw`, the event's text; or the object in it that holds the attributes.
            Raw,
        }

        impl Attribute {
            /// All of them.
            pub const ALL: [Self; Attributes::COUNT + PARTS] = [
                $(Self::$attribute,)+
                Self::Altitude,
                Self::Heading,
                Self::Accuracy,
                Self::ObservedAt,
                Self::Raw,
            ];

            /// The reasons for which a value of it can be dropped.
            pub fn reasons(self) -> &'static [DropReason] {
                match self {
                    $(Self::$attribute => <$value as Value>::LOSSES,)+
                    Self::Altitude | Self::Heading | Self::Accuracy => {
                        &[DropReason::NotUnderstood, DropReason::OutOfRange]
                    }
                    Self::ObservedAt => &[DropReason::TimeNotUnderstood, DropReason::TimeImplausible],
                    Self::Raw => {
                        &[DropReason::NotUnderstood, DropReason::InvalidCharacter, DropReason::UnknownType]
                    }
                }
            }

            /// The name in metric labels and logs.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => stringify!($field),)+
                    Self::Altitude => "altitude_m",
                    Self::Heading => "heading_deg",
                    Self::Accuracy => "accuracy_m",
                    Self::ObservedAt => "observed_at",
                    Self::Raw => "raw",
                }
            }
        }
    };
}

attributes! {
    /// Where the vehicle is.
    position: Position as Position,
    /// Ground speed, km/h, 0 to 400.
    speed_kmh: f64 as Speed,
    /// Charge of the traction battery, or fuel level, percent, 0 to 100.
    battery_percent: f64 as Battery,
    /// Remaining range, whole metres.
    range_m: i32 as Range,
    /// Total distance driven, whole metres.
    odometer_m: i32 as Odometer,
    /// The vehicle's electronics or ignition are on.
    powered_on: bool as PoweredOn,
    /// The vehicle is locked, or its alarm is armed.
    locked: bool as Locked,
    /// The traction battery is charging.
    charging: bool as Charging,
    /// The vehicle has a connection to the provider.
    online: bool as Online,
    /// The immobiliser lets the vehicle be driven.
    driving_enabled: bool as DrivingEnabled,
}
