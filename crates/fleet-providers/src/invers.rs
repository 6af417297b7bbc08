//! INVERS cars and mopeds, in the three generations of its messages.
//!
//! - Events, current: `{"metadata": {id, type, occurred_at, …}, "data": {…}}`,
//!   <https://developers.invers.com/events/format>.
//! - Messaging, its predecessor: the same with `message_id` and `message_type`,
//!   <https://developers.invers.com/messaging>.
//! - CloudBoxx, by device: `{"qnr": …, "event": {"status": {…}}}`; see [`legacy`].
//!
//! The state's properties, each `{"timestamp", "value"}`: <https://developers.invers.com/overview/vehicle-state>.
//!
//! Confidence: the envelope and the properties, high (documented); where in `data` the state stands, inferred, so
//! that it is looked for at `vehicle_state`, at `state` and in `data` itself; that a webhook carries the same text
//! as a message of the queue, inferred. Only the types known to carry state change any: of trips, smoke and types
//! to come, the raw text is stored. No property for charging is documented, so none is read.

mod legacy;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::fields::{Fields, Item, Items, Value};
use crate::report::Report;
use crate::time::Clock;
use crate::{
    Accepted, Attributes, AuthScheme, Limits, Message, ParseError, Position, Provider, Timed, json, quantity,
};

/// The provider. Its authentication is an assumption.
pub(crate) const INVERS: Provider = Provider {
    slug: "invers",
    name: "INVERS",
    default_auth: || AuthScheme::Bearer,
    accepted: Accepted { content_type: None, body: "" },
    split,
    map,
};

/// The types whose data is read for state.
const STATE_TYPES: [&str; 5] = [
    "VehicleStateRecorded",
    "VehicleStateReceived",
    "CentralLockStatusChanged",
    "VehicleChanged",
    "VehicleDataChanged",
];

/// An event, or an array of events, bare or as `data` alone, as CloudBoxx's long poll answers.
fn split<'a>(message: &Message<'a>, limits: &Limits) -> Result<Items<'a>, ParseError> {
    let items = json::items(message.body, limits)?;
    if let [Ok(Item { fields, .. })] = items.as_slice()
        && let Some(Value::Json(data)) = fields.find("data")
        && data.starts_with('[')
    {
        return json::split(data, limits);
    }
    Ok(items)
}

/// Maps one event of any generation.
fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> Report<'a> {
    let (metadata, data) = (item.fields.object("metadata"), item.fields.object("data"));
    if metadata.is_none() && data.is_none() {
        return legacy::map(item, message, limits);
    }
    let (metadata, data) = (metadata.unwrap_or_default(), data.unwrap_or_default());
    let mut clock = Clock::new(message, limits, [metadata.find("occurred_at")]);
    let kind = metadata.text("type").or_else(|| metadata.text("message_type"));
    let vehicle = data.object("vehicle");
    let attributes = if kind.as_deref().is_none_or(|kind| STATE_TYPES.contains(&kind)) {
        attributes(&data, vehicle.as_ref(), &mut clock)
    } else {
        Attributes::default()
    };
    let vehicle_id = data.text("vehicle_id").or_else(|| vehicle.and_then(|vehicle| vehicle.text("id")));
    Report {
        vehicle: vehicle_id,
        kind,
        default_kind: "unknown",
        event_id: metadata.text("id").or_else(|| metadata.text("message_id")),
        ..Report::new(item, clock, attributes)
    }
}

/// The state in an event's data.
fn attributes(data: &Fields<'_>, vehicle: Option<&Fields<'_>>, clock: &mut Clock<'_>) -> Attributes {
    let nested = data.object("vehicle_state").or_else(|| data.object("state"));
    let state = nested.as_ref().unwrap_or(data);
    let charge = Property::of(state, "state_of_charge_or_fuel_level_in_percent")
        .or_else(|| Property::of(state, "fuel_level_in_percent"));
    Attributes {
        position: position(state, clock),
        battery_percent: Property::timed(charge, clock, |value| value.number().and_then(quantity::percent)),
        range_m: Property::timed(Property::of(state, "remaining_range_in_kilometers"), clock, metres),
        odometer_m: Property::timed(Property::of(state, "mileage_in_kilometers"), clock, metres),
        powered_on: Property::timed(Property::of(state, "ignition"), clock, |value| word(value, "on", "off")),
        locked: Property::timed(Property::of(state, "central_lock"), clock, |value| {
            word(value, "locked", "unlocked")
        }),
        online: vehicle.and_then(|vehicle| online(vehicle, clock)),
        ..Attributes::default()
    }
}

/// One property of the state.
struct Property<'a> {
    value: Value<'a>,
    at: Option<Timestamp>,
}

impl<'a> Property<'a> {
    /// The property of that name. A bare value is taken for one without a time.
    fn of(state: &Fields<'a>, name: &str) -> Option<Self> {
        let found = state.find(name)?;
        let Some(property) = found.object() else {
            return Some(Self { value: found.clone(), at: None });
        };
        let value = property.find("value")?.clone();
        Some(Self { value, at: property.time("timestamp") })
    }

    /// What `read` makes of the property, at the property's own time.
    fn timed<T>(
        property: Option<Self>,
        clock: &mut Clock<'_>,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Timed<T>> {
        let property = property?;
        clock.timed(read(&property.value), property.at)
    }
}

/// The position, with the altitude if it is of the same moment.
fn position(state: &Fields<'_>, clock: &mut Clock<'_>) -> Option<Timed<Position>> {
    let property = Property::of(state, "position")?;
    let coordinates = property.value.object()?;
    let lat_lon = (coordinates.number("lat"), coordinates.number("lon"));
    let mut position = quantity::position(&coordinates, lat_lon.0, lat_lon.1)?;
    let altitude = Property::of(state, "altitude_in_meters").filter(|altitude| altitude.at == property.at);
    if let Some(altitude) = altitude.and_then(|altitude| altitude.value.number()) {
        position.altitude_m = Some(altitude);
    }
    clock.timed(Some(position), property.at)
}

/// `life_status` of the vehicle's master data.
fn online(vehicle: &Fields<'_>, clock: &mut Clock<'_>) -> Option<Timed<bool>> {
    let status = vehicle.object("life_status")?;
    let online = status.find("value").and_then(|value| word(value, "online", "offline"));
    clock.timed(online, status.time("modified_at"))
}

/// Whole metres of a distance in kilometres.
fn metres(value: &Value<'_>) -> Option<i32> {
    value.number().and_then(quantity::metres_from_km)
}

/// A flag written as one of two words; a third one says nothing.
fn word(value: &Value<'_>, yes: &str, no: &str) -> Option<bool> {
    let text: Cow<'_, str> = value.text()?;
    let text = text.trim();
    if text.eq_ignore_ascii_case(yes) {
        return Some(true);
    }
    text.eq_ignore_ascii_case(no).then_some(false)
}
