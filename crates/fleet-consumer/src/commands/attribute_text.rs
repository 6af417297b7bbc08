//! Attributes as an operator reads them.

use fleet_providers::{Attribute, Attributes, Position, Timed};
use jiff::Timestamp;

/// One attribute's value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttributeText {
    pub(crate) value: String,
    pub(crate) at: Timestamp,
    pub(crate) received_at: Timestamp,
}

impl AttributeText {
    /// When it was received, unless it was stored before receipts were.
    pub(crate) fn receipt(&self) -> Option<Timestamp> {
        (self.received_at != Timestamp::MIN).then_some(self.received_at)
    }
}

/// Every attribute that has a time of its own, in the order of the table's columns.
pub(crate) fn shown(attributes: &Attributes) -> [(Attribute, Option<AttributeText>); 9] {
    let Attributes {
        position,
        speed_kmh,
        battery_percent,
        range_m,
        odometer_m,
        powered_on,
        locked,
        charging,
        online,
    } = *attributes;
    let position = position.map(|Timed { value, at, received_at }| {
        let value = place(&value);
        Timed { value, at, received_at }
    });
    [
        (Attribute::Position, text(position)),
        (Attribute::Speed, text(speed_kmh)),
        (Attribute::Battery, text(battery_percent)),
        (Attribute::Range, text(range_m)),
        (Attribute::Odometer, text(odometer_m)),
        (Attribute::PoweredOn, text(powered_on)),
        (Attribute::Locked, text(locked)),
        (Attribute::Charging, text(charging)),
        (Attribute::Online, text(online)),
    ]
}

fn text<T: std::fmt::Display>(timed: Option<Timed<T>>) -> Option<AttributeText> {
    timed.map(|Timed { value, at, received_at }| AttributeText { value: value.to_string(), at, received_at })
}

fn place(position: &Position) -> String {
    let Position { lat, lon, altitude_m, heading_deg, accuracy_m } = position;
    let rest = [("altitude", altitude_m), ("heading", heading_deg), ("accuracy", accuracy_m)];
    let rest = rest.into_iter().filter_map(|(name, value)| value.map(|value| format!(", {name} {value}")));
    format!("{lat}, {lon}{}", rest.collect::<String>())
}
