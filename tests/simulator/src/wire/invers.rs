//! INVERS: JSON envelopes. Every property has its own time, often older than the event. The same envelope comes by webhook, or as
//! an AMQP message whose properties repeat its metadata.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

use super::{Credentials, Event, Webhook, iso};
use crate::model::{Fix, Observation, Seen};
use crate::vehicle::{Role, Vehicle};

/// Mileage and charge are read at this interval. In between they are repeated with the old time.
const SLOW_PROPERTIES_EVERY_MS: i64 = 10_000;

/// Where each property of a vehicle comes from: the vehicle as it was when its unit read the property.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    fix: &'a Vehicle,
    second: &'a Vehicle,
    slow: &'a Vehicle,
}

impl<'a> Readings<'a> {
    /// The values of now, although some of the times are older. So two reports may contradict each other.
    pub fn of(vehicle: &'a Vehicle) -> Self {
        Self { fix: vehicle, second: vehicle, slow: vehicle }
    }
}

/// A unit that repeats a property with its value until it reads it again. So each time has one value.
#[derive(Clone, Debug)]
pub struct Unit {
    fix: Vehicle,
    second: Vehicle,
    slow: Vehicle,
}

impl Unit {
    /// A unit that reads everything now.
    pub fn new(vehicle: &Vehicle) -> Self {
        Self { fix: vehicle.clone(), second: vehicle.clone(), slow: vehicle.clone() }
    }

    /// Reads the properties that are due.
    pub fn read(&mut self, vehicle: &Vehicle) -> Readings<'_> {
        if vehicle.fix_ms > self.fix.fix_ms {
            self.fix = vehicle.clone();
        }
        if second_ms(vehicle) > second_ms(&self.second) {
            self.second = vehicle.clone();
        }
        if slow_ms(vehicle) > slow_ms(&self.slow) {
            self.slow = vehicle.clone();
        }
        Readings { fix: &self.fix, second: &self.second, slow: &self.slow }
    }
}

/// When the slow properties were read, epoch ms.
fn slow_ms(vehicle: &Vehicle) -> i64 {
    vehicle.state_ms - vehicle.state_ms % SLOW_PROPERTIES_EVERY_MS
}

/// The time of properties of which the unit knows no fraction of a second, epoch ms. Some units have no sub-second clock.
fn second_ms(vehicle: &Vehicle) -> i64 {
    vehicle.state_ms - vehicle.state_ms % 1_000
}

/// A vehicle's state. `id` is the event's id.
pub fn state(vehicle: &Vehicle, readings: Readings<'_>, id: &str, credentials: &Credentials) -> Webhook {
    let (state, seen) = properties(vehicle, readings);
    let occurred_at = written(vehicle, iso(vehicle.state_ms, true));
    let metadata = if is_previous_generation(vehicle) {
        json!({ "message_id": id, "message_type": "VehicleStateReceived", "occurred_at": occurred_at,
                "version": "2.0.0", "flow_id": FLOW })
    } else {
        metadata("VehicleStateRecorded", id, &occurred_at)
    };
    let data = json!({ "vehicle_id": vehicle.id, "vehicle_state": state });
    let message = message(vehicle, &metadata);
    request(vehicle, seen, json!({ "metadata": metadata, "data": data }), credentials).with_message(message)
}

/// An unknown type. It is stored and does not change the vehicle state.
pub fn unknown(vehicle: &Vehicle, id: &str, credentials: &Credentials) -> Webhook {
    let metadata = metadata("RoofBoxOpened", id, &iso(vehicle.state_ms, true));
    let data = json!({ "vehicle_id": vehicle.id, "opened_by": "wind" });
    let message = message(vehicle, &metadata);
    let body = json!({ "metadata": metadata, "data": data });
    request(vehicle, Vec::new(), body, credentials).with_message(message)
}

/// The properties of a message, which repeat the metadata of its event. Before INVERS set the properties, they were headers.
fn message(vehicle: &Vehicle, metadata: &Value) -> BasicProperties {
    let persistent = 2;
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(persistent);
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let mut headers = FieldTable::default();
    if metadata["message_type"].is_string() {
        for (header, name) in
            [("Flow-ID", "flow_id"), ("Message-Type", "message_type"), ("Message-Version", "version")]
        {
            headers.insert(header.into(), AMQPValue::LongString(text(name).into()));
        }
        return properties.with_message_id(short(text("message_id"))).with_headers(headers);
    }
    headers.insert("schema_major_version".into(), AMQPValue::LongInt(2));
    properties
        .with_message_id(short(text("id")))
        .with_type(short(text("type")))
        .with_timestamp(u64::try_from(vehicle.state_ms / 1_000).unwrap_or_default())
        .with_correlation_id(short(text("flow_id")))
        .with_headers(headers)
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
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
fn properties(vehicle: &Vehicle, readings: Readings<'_>) -> (Map<String, Value>, Vec<Seen>) {
    let Readings { fix, second, slow } = readings;
    let (now_ms, slow_ms, second_ms) = (vehicle.state_ms, slow_ms(slow), second_ms(second));
    let mut sent = Map::new();
    let mut seen = Vec::new();
    let mut add = |name: &str, at_ms: i64, value: Value, what: Option<Observation>| {
        let timestamp = written(vehicle, iso(at_ms, at_ms % 1_000 != 0 || vehicle.variant.is_multiple_of(2)));
        sent.insert(name.to_owned(), json!({ "timestamp": timestamp, "value": value }));
        seen.extend(what.map(|what| Seen { at_ms, what }));
    };
    if vehicle.has_fix {
        let (lat, lon, fix_ms) = (fix.lat(), fix.lon(), fix.fix_ms);
        let fix = Fix { lat, lon, altitude_m: None, heading_deg: None, accuracy_m: None };
        add("position", fix_ms, json!({ "lat": lat, "lon": lon }), Some(Observation::Position(fix)));
    }
    let mileage_km = json!(f64::from(slow.odometer_m) / 1_000.0);
    add("mileage_in_kilometers", slow_ms, mileage_km, Some(Observation::OdometerM(slow.odometer_m)));
    let charge = slow.batteries[0];
    let level = if is_previous_generation(vehicle) {
        "fuel_level_in_percent"
    } else {
        "state_of_charge_or_fuel_level_in_percent"
    };
    add(level, slow_ms, json!(charge), Some(Observation::BatteryPercent(f64::from(charge))));
    let range_km = second.range_km();
    add(
        "remaining_range_in_kilometers",
        second_ms,
        json!(range_km),
        Some(Observation::RangeM(range_km * 1_000)),
    );
    add("cellular_signal_quality", now_ms, json!(4), None);
    let lock = if second.locked { "LOCKED" } else { "UNLOCKED" };
    add("central_lock", second_ms, json!(lock), Some(Observation::Locked(second.locked)));
    let ignition = if vehicle.powered_on { "ON" } else { "OFF" };
    add("ignition", now_ms, json!(ignition), Some(Observation::PoweredOn(vehicle.powered_on)));
    let driving = second.driving_enabled;
    add("driving_enabled", second_ms, json!(driving), Some(Observation::DrivingEnabled(driving)));
    (sent, seen)
}
