//! INVERS cars and mopeds, in the three generations of its messages.
//!
//! - Events, current: `{"metadata": {id, type, occurred_at, …}, "data": {…}}`,
//!   <https://developers.invers.com/events/format>.
//! - Messaging, its predecessor: the same with `message_id` and `message_type`,
//!   <https://developers.invers.com/messaging>.
//! - CloudBoxx, by device: `{"qnr": …, "event": {"status": {…}}}`; see [`legacy`].
//!
//! The properties of the state, each `{"timestamp", "value"}`:
//! <https://developers.invers.com/overview/vehicle-state>.
//!
//! Confidence: high for the envelope and the properties, which are documented; inferred for the place of the
//! state in `data`, so the parser looks in `vehicle_state`, in `state` and in `data` itself; inferred for a
//! webhook having the same body as an AMQP message. Only types that are known to contain state change the
//! state. Of trips, smoke and unknown types, only the raw text is stored. No property for charging is
//! documented, so none is read.

mod legacy;

use crate::attributes::{Attribute, Attributes};
use crate::auth::AuthScheme;
use crate::drop_reason::DropReason;
use crate::error::ParseError;
use crate::fields::{Check, Fields, Item, Value};
use crate::items::Items;
use crate::json::Wrapper;
use crate::mapped_event::MappedEvent;
use crate::message::{Limits, Message};
use crate::provider::{Accepted, Provider};
use crate::reader::EventReader;
use crate::value::{Position, Timed};
use crate::{json, quantity};

/// The provider. Its authentication is an assumption.
pub(crate) const INVERS: Provider = Provider {
    slug: "invers",
    name: "INVERS",
    default_auth: || AuthScheme::Bearer,
    accepted: Accepted { content_type: None, body: "" },
    split,
    map,
};

/// The types whose data contain state.
const STATE_TYPES: [&str; 5] = [
    "VehicleStateRecorded",
    "VehicleStateReceived",
    "CentralLockStatusChanged",
    "VehicleChanged",
    "VehicleDataChanged",
];

/// The first words of types that are known not to contain state.
const OTHER_TYPES: [&str; 3] = ["Trip", "Smoke", "Damage"];

/// The envelope `data` around an array of events. In an event, `data` is an object.
const ANSWER: Wrapper = Wrapper { event_members: &[], data_begins_with: b"[" };

/// Splits an event or an array of events, alone or as `data`, like the responses of CloudBoxx's long poll.
fn split<'a>(message: &Message<'a>, limits: &Limits) -> Result<Items<'a>, ParseError> {
    json::unwrapped_items(message.body, ANSWER, limits)
}

/// Maps one event of any generation.
fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> MappedEvent<'a> {
    let (metadata, data) = (item.fields.object("metadata").known(), item.fields.object("data").known());
    if metadata.is_none() && data.is_none() {
        return legacy::map(item, message, limits);
    }
    let (metadata, data) = (metadata.unwrap_or_default(), data.unwrap_or_default());
    let mut reader = EventReader::new(message, limits, [metadata.find("occurred_at")]);
    let kind = metadata.text("type").or_else(|| metadata.text("message_type"));
    let vehicle = data.object("vehicle").known();
    let attributes = match kind.as_deref() {
        Some(kind) if !STATE_TYPES.contains(&kind) => {
            if !OTHER_TYPES.iter().any(|other| kind.starts_with(other)) {
                reader.note(Attribute::Raw, DropReason::UnknownType, kind.to_owned().into());
            }
            Attributes::default()
        }
        Some(_) | None => attributes(&data, vehicle.as_ref(), &mut reader),
    };
    let vehicle_id = data.text("vehicle_id").or_else(|| vehicle.and_then(|vehicle| vehicle.text("id")));
    MappedEvent {
        vehicle: vehicle_id,
        kind,
        default_kind: "unknown",
        event_id: metadata.text("id").or_else(|| metadata.text("message_id")),
        ..MappedEvent::new(item, reader, attributes)
    }
}

/// The state in an event's data.
fn attributes<'a>(
    data: &Fields<'a>,
    vehicle: Option<&Fields<'a>>,
    reader: &mut EventReader<'a>,
) -> Attributes {
    let nested = data.object("vehicle_state").or(|| data.object("state"));
    let nested = reader.value(Attribute::Raw, nested);
    let state = nested.as_ref().unwrap_or(data);
    let charge = Property::of(state, "state_of_charge_or_fuel_level_in_percent")
        .or_else(|| Property::of(state, "fuel_level_in_percent"));
    let range = Property::of(state, "remaining_range_in_kilometers");
    let odometer = Property::of(state, "mileage_in_kilometers");
    let (ignition, lock) = (Property::of(state, "ignition"), Property::of(state, "central_lock"));
    let driving = Property::of(state, "driving_enabled");
    let km = quantity::metres_from_km;
    Attributes {
        position: position(state, reader),
        battery_percent: number(reader, Attribute::Battery, charge, quantity::percent),
        range_m: number(reader, Attribute::Range, range, km),
        odometer_m: number(reader, Attribute::Odometer, odometer, km),
        powered_on: word(reader, Attribute::PoweredOn, ignition, ["on", "off"]),
        locked: word(reader, Attribute::Locked, lock, ["locked", "unlocked"]),
        online: vehicle.and_then(|vehicle| online(vehicle, reader)),
        driving_enabled: flag(reader, Attribute::DrivingEnabled, driving),
        ..Attributes::default()
    }
}

/// One property of the state, as sent.
struct Property<'a> {
    value: Value<'a>,
    at: Option<Value<'a>>,
}

impl<'a> Property<'a> {
    /// The property of that name. A bare value counts as a property without a time, as does an object without
    /// `value`.
    fn of(state: &Fields<'a>, name: &str) -> Option<Self> {
        let found = state.find(name)?;
        let Some(property) = found.object().known() else {
            return Some(Self { value: found.clone(), at: None });
        };
        let at = property.find("timestamp").cloned();
        match property.find("value") {
            Some(value) => Some(Self { value: value.clone(), at }),
            // A time alone is no value.
            None if property.0.len() == usize::from(at.is_some()) => None,
            None => Some(Self { value: found.clone(), at }),
        }
    }
}

/// A numeric property, at its own time.
fn number<'a, T>(
    reader: &mut EventReader<'a>,
    attribute: Attribute,
    property: Option<Property<'a>>,
    check: Check<T>,
) -> Option<Timed<T>> {
    let Property { value, at } = property?;
    reader.timed(attribute, value.number(check), at.as_ref())
}

/// A property that is `true` or `false`, at its own time.
fn flag<'a>(
    reader: &mut EventReader<'a>,
    attribute: Attribute,
    property: Option<Property<'a>>,
) -> Option<Timed<bool>> {
    let Property { value, at } = property?;
    reader.timed(attribute, value.flag(), at.as_ref())
}

/// A property that is one of two words, at its own time.
fn word<'a>(
    reader: &mut EventReader<'a>,
    attribute: Attribute,
    property: Option<Property<'a>>,
    [yes, no]: [&str; 2],
) -> Option<Timed<bool>> {
    let Property { value, at } = property?;
    reader.timed(attribute, value.word(yes, no), at.as_ref())
}

/// The position, with the altitude if it has the same time.
fn position<'a>(state: &Fields<'a>, reader: &mut EventReader<'a>) -> Option<Timed<Position>> {
    let property = Property::of(state, "position")?;
    let position = property.value.object().then(|place| {
        let lat = place.number("lat", quantity::latitude);
        reader.place(&place, lat, place.number("lon", quantity::longitude))
    });
    let mut position = reader.timed(Attribute::Position, position, property.at.as_ref())?;
    let altitude = Property::of(state, "altitude_in_meters");
    if let Some(altitude) = altitude.filter(|altitude| is_same_time(&altitude.at, &property.at)) {
        let altitude = altitude.value.number(quantity::any);
        position.value.altitude_m = reader.value(Attribute::Altitude, altitude).or(position.value.altitude_m);
    }
    Some(position)
}

/// Whether both are the same time, in any notation.
fn is_same_time<'a>(one: &Option<Value<'a>>, other: &Option<Value<'a>>) -> bool {
    let time = |at: &Option<Value<'a>>| at.as_ref().and_then(|at| at.time().known());
    one == other || time(one) == time(other)
}

/// Whether `life_status` of the vehicle's master data is online.
fn online<'a>(vehicle: &Fields<'a>, reader: &mut EventReader<'a>) -> Option<Timed<bool>> {
    let status = vehicle.object("life_status");
    let online = status.clone().then(|status| status.word("value", "online", "offline"));
    let modified_at = status.known().and_then(|status| status.find("modified_at").cloned());
    reader.timed(Attribute::Online, online, modified_at.as_ref())
}
