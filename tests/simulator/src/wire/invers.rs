//! INVERS: JSON envelopes. Every property has its own time, often older than the event.

use serde_json::{Map, Value, json};

use super::{Credentials, Event, Webhook, iso};
use crate::model::{Fix, Observation, Seen};
use crate::vehicle::{Role, Vehicle};

/// Mileage and charge are read at this interval. In between they are repeated with the old time.
const SLOW_PROPERTIES_EVERY_MS: i64 = 10_000;

/// A vehicle's state. `id` is the event's id.
pub fn state(vehicle: &Vehicle, id: &str, credentials: &Credentials) -> Webhook {
    let (state, seen) = properties(vehicle);
    let occurred_at = written(vehicle, iso(vehicle.state_ms, true));
    let metadata = if is_previous_generation(vehicle) {
        json!({ "message_id": id, "message_type": "VehicleStateReceived", "occurred_at": occurred_at,
                "version": "2.0.0", "flow_id": FLOW })
    } else {
        metadata("VehicleStateRecorded", id, &occurred_at)
    };
    let data = json!({ "vehicle_id": vehicle.id, "vehicle_state": state });
    request(vehicle, seen, json!({ "metadata": metadata, "data": data }), credentials)
}

/// An unknown type. It is stored and does not change the vehicle state.
pub fn unknown(vehicle: &Vehicle, id: &str, credentials: &Credentials) -> Webhook {
    let metadata = metadata("RoofBoxOpened", id, &iso(vehicle.state_ms, true));
    let data = json!({ "vehicle_id": vehicle.id, "opened_by": "wind" });
    request(vehicle, Vec::new(), json!({ "metadata": metadata, "data": data }), credentials)
}

/// A time in the format of the vehicle's unit.
fn written(vehicle: &Vehicle, time: String) -> String {
    match vehicle.variant % 7 {
        3 => time.to_ascii_lowercase(),
        4 => time.replace('T', " ").replace('Z', " +0000"),
        _ => time,
    }
}

const FLOW: &str = "804f2161-a15c-420f-8f21-000000000000";

fn metadata(kind: &str, id: &str, occurred_at: &str) -> Value {
    json!({ "id": id, "type": kind, "schema_major_version": 2, "occurred_at": occurred_at, "flow_id": FLOW })
}

fn is_previous_generation(vehicle: &Vehicle) -> bool {
    vehicle.variant.is_multiple_of(6)
}

fn request(vehicle: &Vehicle, seen: Vec<Seen>, mut body: Value, credentials: &Credentials) -> Webhook {
    body["sequence"] = json!(vehicle.sequence);
    let sequence = vehicle.sequence;
    let event = Event { vehicle: vehicle.index, sequence, seen, keeps_time: vehicle.role != Role::Skewed };
    Webhook::new("/webhooks/invers", "application/json", body.to_string(), vec![event])
        .with_credential("authorization", format!("Bearer {}", credentials.invers_token))
}

/// The state's properties as sent, and their meaning.
fn properties(vehicle: &Vehicle) -> (Map<String, Value>, Vec<Seen>) {
    let now_ms = vehicle.state_ms;
    let slow_ms = now_ms - now_ms % SLOW_PROPERTIES_EVERY_MS;
    // Some units have no sub-second clock and write no fraction.
    let second_ms = now_ms - now_ms % 1_000;
    let mut sent = Map::new();
    let mut seen = Vec::new();
    let mut add = |name: &str, at_ms: i64, value: Value, what: Option<Observation>| {
        let timestamp = written(vehicle, iso(at_ms, at_ms % 1_000 != 0 || vehicle.variant.is_multiple_of(2)));
        sent.insert(name.to_owned(), json!({ "timestamp": timestamp, "value": value }));
        seen.extend(what.map(|what| Seen { at_ms, what }));
    };
    if vehicle.has_fix {
        let (lat, lon) = (vehicle.lat(), vehicle.lon());
        let fix = Fix { lat, lon, altitude_m: None, heading_deg: None, accuracy_m: None };
        add("position", vehicle.fix_ms, json!({ "lat": lat, "lon": lon }), Some(Observation::Position(fix)));
    }
    let mileage_km = json!(f64::from(vehicle.odometer_m) / 1_000.0);
    add("mileage_in_kilometers", slow_ms, mileage_km, Some(Observation::OdometerM(vehicle.odometer_m)));
    let charge = vehicle.batteries[0];
    let level = if is_previous_generation(vehicle) {
        "fuel_level_in_percent"
    } else {
        "state_of_charge_or_fuel_level_in_percent"
    };
    add(level, slow_ms, json!(charge), Some(Observation::BatteryPercent(f64::from(charge))));
    let range_km = vehicle.range_km();
    add(
        "remaining_range_in_kilometers",
        second_ms,
        json!(range_km),
        Some(Observation::RangeM(range_km * 1_000)),
    );
    add("cellular_signal_quality", now_ms, json!(4), None);
    let lock = if vehicle.locked { "LOCKED" } else { "UNLOCKED" };
    add("central_lock", second_ms, json!(lock), Some(Observation::Locked(vehicle.locked)));
    let ignition = if vehicle.powered_on { "ON" } else { "OFF" };
    add("ignition", now_ms, json!(ignition), Some(Observation::PoweredOn(vehicle.powered_on)));
    let driving = vehicle.driving_enabled;
    add("driving_enabled", second_ms, json!(driving), Some(Observation::DrivingEnabled(driving)));
    (sent, seen)
}
