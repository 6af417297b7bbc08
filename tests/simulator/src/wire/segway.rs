//! Segway: signed forms, one sub-path for each message type. Older units send status and location together.

use std::collections::BTreeMap;

use form_urlencoded::Serializer;
use md5::{Digest, Md5};

use super::{Credentials, Event, Webhook};
use crate::model::{Fix, Observation, Seen};
use crate::vehicle::{Role, Vehicle};

type Fields = BTreeMap<&'static str, String>;

/// Status with location (v1).
pub fn status_with_location(vehicle: &Vehicle, credentials: &Credentials) -> Webhook {
    let mut fields = status_fields(vehicle);
    fields.extend(location_fields(vehicle, vehicle.fix_ms));
    let mut seen = status_meaning(vehicle);
    seen.extend(location_meaning(vehicle, vehicle.fix_ms));
    request("/webhooks/segway", fields, event(vehicle, seen), credentials)
}

/// Status only (v2).
pub fn status(vehicle: &Vehicle, credentials: &Credentials) -> Webhook {
    let event = event(vehicle, status_meaning(vehicle));
    request("/webhooks/segway/vehicle/status", status_fields(vehicle), event, credentials)
}

/// Location only (v2), with its own clock.
pub fn location(vehicle: &Vehicle, credentials: &Credentials) -> Webhook {
    // Not the time of the last fix, because two reports of one fix would be the same event.
    let at_ms = vehicle.state_ms;
    let event = event(vehicle, location_meaning(vehicle, at_ms).into_iter().collect());
    request("/webhooks/segway/vehicle/location", location_fields(vehicle, at_ms), event, credentials)
}

/// An alert. It has no time that the API knows and does not change the vehicle state.
pub fn alert(vehicle: &Vehicle, credentials: &Credentials) -> Webhook {
    let codes = ["1", "2", "3", "4", "6"];
    let code = usize::try_from(vehicle.reports).map_or("1", |reports| codes[reports % codes.len()]);
    let mut fields = identity(vehicle);
    fields.insert("code", code.to_owned());
    request("/webhooks/segway/vehicle/alert", fields, no_effect(vehicle), credentials)
}

/// An unknown type.
pub fn unknown(vehicle: &Vehicle, credentials: &Credentials) -> Webhook {
    let mut fields = identity(vehicle);
    fields.insert("firmwareVersion", "1.2.3".to_owned());
    let path = "/webhooks/segway/firmware/upgrade/complete";
    request(path, fields, no_effect(vehicle), credentials)
}

/// Upper case for some vehicles, because some receivers convert signatures to lower case.
fn signature_case(vehicle_code: &str, signature: String) -> String {
    if vehicle_code.ends_with('7') { signature.to_ascii_uppercase() } else { signature }
}

/// MD5 over `key=value` pairs in key order, joined with `&`, with the secret as the last pair. 32 hex digits.
pub fn sign(fields: &BTreeMap<&'static str, String>, secret: &str) -> String {
    let mut text: String = fields.iter().map(|(key, value)| format!("{key}={value}&")).collect();
    text.push_str("client_secret=");
    text.push_str(secret);
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request(path: &'static str, mut fields: Fields, event: Event, credentials: &Credentials) -> Webhook {
    let signature = sign(&fields, &credentials.segway_secret);
    let code = fields.get("vehicleCode").map_or("", String::as_str);
    let signature = signature_case(code, signature);
    fields.insert("signature", signature);
    let mut body = Serializer::new(String::new()).extend_pairs(&fields).finish();
    if event.sequence % 8 == 3 {
        body.push_str("\r\n");
    }
    let content_type = match event.sequence % 8 {
        1 => "application/json",
        _ => "application/x-www-form-urlencoded",
    };
    Webhook::new(path, content_type, body, vec![event])
}

fn event(vehicle: &Vehicle, seen: Vec<Seen>) -> Event {
    let sequence = vehicle.sequence;
    Event { vehicle: vehicle.index, sequence, seen, keeps_time: vehicle.role != Role::Skewed }
}

fn no_effect(vehicle: &Vehicle) -> Event {
    Event { vehicle: vehicle.index, sequence: vehicle.sequence, seen: Vec::new(), keeps_time: false }
}

fn identity(vehicle: &Vehicle) -> Fields {
    Fields::from([
        ("iotCode", vehicle.id.clone()),
        ("platformCode", "E00001".to_owned()),
        // A parameter that the API does not know. It also distinguishes two alerts of the same millisecond.
        ("sequence", vehicle.sequence.to_string()),
        ("vehicleCode", format!("SGWTEST{:04}", vehicle.index)),
    ])
}

fn status_fields(vehicle: &Vehicle) -> Fields {
    let mut fields = identity(vehicle);
    fields.extend([
        ("charging", vehicle.charging.to_string()),
        ("lockVoltage", "4100".to_owned()),
        ("locked", vehicle.locked.to_string()),
        ("networkSignal", "22".to_owned()),
        ("odometer", (vehicle.odometer_m / 10).to_string()),
        ("online", vehicle.online.to_string()),
        ("powerPercent", vehicle.batteries[0].to_string()),
        ("remainingRange", (vehicle.range_km() * 100).to_string()),
        ("speed", vehicle.speed_kmh.to_string()),
        ("speedMode", "3".to_owned()),
        ("statusUtcTime", vehicle.state_ms.to_string()),
        ("totalRidingSecs", "98765".to_owned()),
    ]);
    fields
}

fn status_meaning(vehicle: &Vehicle) -> Vec<Seen> {
    let whats = [
        Observation::SpeedKmh(f64::from(vehicle.speed_kmh)),
        Observation::BatteryPercent(f64::from(vehicle.batteries[0])),
        Observation::RangeM(vehicle.range_km() * 1_000),
        Observation::OdometerM(vehicle.odometer_m / 10 * 10),
        Observation::Locked(vehicle.locked),
        Observation::Charging(vehicle.charging),
        Observation::Online(vehicle.online),
    ];
    whats.map(|what| Seen { at_ms: vehicle.state_ms, what }).into()
}

fn location_fields(vehicle: &Vehicle, at_ms: i64) -> Fields {
    let mut fields = identity(vehicle);
    let degrees = |degrees: f64| {
        if vehicle.has_fix { format!("{degrees:.6}") } else { "0.0".to_owned() }
    };
    fields.extend([
        ("altitude", format!("{:.1}", altitude_m(vehicle))),
        ("gpsUtcTime", at_ms.to_string()),
        ("hdop", "0.9".to_owned()),
        ("latitude", degrees(vehicle.lat())),
        ("longitude", degrees(vehicle.lon())),
        ("satelliteNumber", "11".to_owned()),
    ]);
    fields
}

fn location_meaning(vehicle: &Vehicle, at_ms: i64) -> Option<Seen> {
    let (lat, lon, altitude_m) = (vehicle.lat(), vehicle.lon(), Some(altitude_m(vehicle)));
    let fix = Fix { lat, lon, altitude_m, heading_deg: None, accuracy_m: None };
    vehicle.has_fix.then_some(Seen { at_ms, what: Observation::Position(fix) })
}

fn altitude_m(vehicle: &Vehicle) -> f64 {
    f64::from(vehicle.altitude_dm) / 10.0
}
