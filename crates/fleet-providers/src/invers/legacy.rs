//! CloudBoxx, the device-centric generation of INVERS. Every event contains the whole status of the device.
//!
//! The id of a device is its QNR, 16 hexadecimal digits: <https://help.invers.com/fleetcontrol/glossary>. The
//! status is in `event.status`, according to <https://flespi.com/protocols/invers-oneapi>. Its fields are known
//! from clients of the REST API such as <https://github.com/WaiveCar/Waivecar>.
//!
//! Confidence: good for the fields of the status; inferred for an unlocked `immobilizer` being what newer
//! generations call `driving_enabled`; inferred for the names of id, type and time. The parser looks for those
//! in the message, and then in `event`.

use crate::attributes::{Attribute, Attributes};
use crate::fields::{Fields, Item, Value};
use crate::mapped_event::MappedEvent;
use crate::message::{Limits, Message};
use crate::quantity;
use crate::reader::EventReader;

/// Names of the device id.
const DEVICE: [&str; 2] = ["qnr", "device"];
/// Names of the event type.
const KIND: [&str; 2] = ["type", "reason"];
/// Names of the event time.
const TIME: [&str; 2] = ["occurred_at", "timestamp"];

/// Maps one event.
pub(super) fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> MappedEvent<'a> {
    let event = item.fields.object("event").known().unwrap_or_default();
    let around = [&item.fields, &event];
    let mut reader = EventReader::new(message, limits, candidates(&around, &TIME).map(Some));
    let status = event.object("status").or(|| item.fields.object("status"));
    let status = reader.value(Attribute::Raw, status);
    let attributes = status.map(|status| attributes(&status, &mut reader)).unwrap_or_default();
    let text = |names| candidates(&around, names).find_map(Value::text);
    let (vehicle, kind, event_id) = (text(&DEVICE), text(&KIND), text(&["id"]));
    MappedEvent { vehicle, kind, event_id, ..MappedEvent::new(item, reader, attributes) }
}

/// The members with these names, those of the message before those of the event.
fn candidates<'v, 'a>(
    around: &[&'v Fields<'a>; 2],
    names: &'static [&'static str],
) -> impl Iterator<Item = &'v Value<'a>> {
    around.map(|fields| names.iter().filter_map(move |name| fields.find(name))).into_iter().flatten()
}

/// The state in a status.
fn attributes<'a>(status: &Fields<'a>, reader: &mut EventReader<'a>) -> Attributes {
    let electric = reader.value(Attribute::Charging, status.object("electric_vehicle_state"));
    let electric = electric.unwrap_or_default();
    let place = status.object("position");
    let position = place.clone().then(|place| {
        let lat = place.number("lat", quantity::latitude);
        reader.position(&place, lat, place.number("lon", quantity::longitude))
    });
    let fixed_at = place.known().and_then(|place| place.find("timestamp").cloned());
    let speed = status.number("speed", quantity::speed_kmh);
    let battery = status.number("fuel_level", quantity::percent);
    let range = electric.number("cruising_range", quantity::metres_from_km);
    let odometer = status.number("mileage", quantity::metres_from_km);
    let lock = status.word("central_lock", "locked", "unlocked");
    let driving = status.word("immobilizer", "unlocked", "locked");
    Attributes {
        position: reader.timed(Attribute::Position, position, fixed_at.as_ref()),
        speed_kmh: reader.timed(Attribute::Speed, speed, None),
        battery_percent: reader.timed(Attribute::Battery, battery, None),
        range_m: reader.timed(Attribute::Range, range, None),
        odometer_m: reader.timed(Attribute::Odometer, odometer, None),
        powered_on: reader.timed(Attribute::PoweredOn, status.word("ignition", "on", "off"), None),
        locked: reader.timed(Attribute::Locked, lock, None),
        charging: reader.timed(Attribute::Charging, electric.word("charge", "on", "off"), None),
        driving_enabled: reader.timed(Attribute::DrivingEnabled, driving, None),
        ..Attributes::default()
    }
}
