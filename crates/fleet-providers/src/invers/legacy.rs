//! CloudBoxx, the device-centric generation of INVERS: every event holds the device's whole status.
//!
//! A device is named by its QNR, 16 hexadecimal digits: <https://help.invers.com/fleetcontrol/glossary>. That the
//! status stands at `event.status` is known from <https://flespi.com/protocols/invers-oneapi>, its fields from
//! readers of the REST interface such as <https://github.com/WaiveCar/Waivecar>.
//!
//! Confidence: the status' fields, good; the names of id, type and time around it, inferred. Each of those is
//! looked for in the message and then in `event`.

use crate::fields::{Fields, Item};
use crate::report::Report;
use crate::time::Clock;
use crate::{Attributes, Limits, Message, Position, Timed, quantity};

use super::{metres, word};

/// Names of the device's id.
const DEVICE: [&str; 2] = ["qnr", "device"];
/// Names of the event's type.
const KIND: [&str; 2] = ["type", "reason"];
/// Names of the event's time.
const TIME: [&str; 2] = ["occurred_at", "timestamp"];

/// Maps one event.
pub(super) fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> Report<'a> {
    let event = item.fields.object("event").unwrap_or_default();
    let around = [&item.fields, &event];
    let mut clock = Clock::new(message, limits, candidates(&around, &TIME).map(Some));
    let status = event.object("status").or_else(|| item.fields.object("status"));
    let attributes = status.map(|status| attributes(&status, &mut clock)).unwrap_or_default();
    let text = |names| candidates(&around, names).find_map(crate::fields::Value::text);
    let (vehicle, kind, event_id) = (text(&DEVICE), text(&KIND), text(&["id"]));
    Report { vehicle, kind, event_id, ..Report::new(item, clock, attributes) }
}

/// The members of these names, the message's own before the event's.
fn candidates<'v, 'a>(
    around: &[&'v Fields<'a>; 2],
    names: &'static [&'static str],
) -> impl Iterator<Item = &'v crate::fields::Value<'a>> {
    around.map(|fields| names.iter().filter_map(move |name| fields.find(name))).into_iter().flatten()
}

/// The state in a status.
fn attributes(status: &Fields<'_>, clock: &mut Clock<'_>) -> Attributes {
    let electric = status.object("electric_vehicle_state").unwrap_or_default();
    let powered_on = status.find("ignition").and_then(|value| word(value, "on", "off"));
    let locked = status.find("central_lock").and_then(|value| word(value, "locked", "unlocked"));
    let charging = electric.find("charge").and_then(|value| word(value, "on", "off"));
    Attributes {
        position: position(status, clock),
        speed_kmh: clock.timed(status.number("speed").and_then(quantity::speed_kmh), None),
        battery_percent: clock.timed(status.number("fuel_level").and_then(quantity::percent), None),
        range_m: clock.timed(electric.find("cruising_range").and_then(metres), None),
        odometer_m: clock.timed(status.find("mileage").and_then(metres), None),
        powered_on: clock.timed(powered_on, None),
        locked: clock.timed(locked, None),
        charging: clock.timed(charging, None),
        online: None,
    }
}

/// The position at its own time.
fn position(status: &Fields<'_>, clock: &mut Clock<'_>) -> Option<Timed<Position>> {
    let place = status.object("position")?;
    let position: Option<Position> = quantity::position(&place, place.number("lat"), place.number("lon"));
    clock.timed(position, place.time("timestamp"))
}
