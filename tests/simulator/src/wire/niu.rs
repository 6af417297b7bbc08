//! NIU: JSON objects with the field names of its app's `index_info`, or arrays of them after an outage.

use serde_json::{Value, json};

use super::{Credentials, Event, Webhook};
use crate::model::{Fix, Observation, Seen};
use crate::vehicle::{Role, Vehicle};

const PATH: &str = "/webhooks/niu";

/// One report: the JSON object and its meaning.
pub fn report(vehicle: &Vehicle) -> (Value, Event) {
    let mut report = json!({
        "type": kind(vehicle),
        "time": vehicle.state_ms, "sequence": vehicle.sequence,
        "infoTimestamp": vehicle.state_ms,
        "gpsTimestamp": vehicle.fix_ms,
        "hdop": 1, "gps": 5, "gsm": 20, "lockStatus": 1, "ss_protocol_ver": 3,
        "isAccOn": flag(vehicle, vehicle.powered_on),
        "isFortificationOn": if arms(vehicle) { flag(vehicle, vehicle.locked) } else { json!("") },
        "isCharging": flag(vehicle, vehicle.charging),
        "isConnected": vehicle.online,
        "ss_online_sta": if vehicle.online { "1" } else { "0" },
        "nowSpeed": vehicle.speed_kmh,
        "estimatedMileage": vehicle.range_km(),
        "totalMileage": f64::from(vehicle.odometer_m) / 1_000.0,
        "centreCtrlBattery": "100", "leftTime": "17.0",
        "batteries": batteries(vehicle),
    });
    if has_padded_text(vehicle) {
        // Firmware written in C pads its texts like this.
        report["soft_version"] = json!("TRB2\0\0");
    }
    if sends_no_fix_time(vehicle) {
        report["gpsTimestamp"] = json!(0);
    }
    let name = if vehicle.variant.is_multiple_of(5) { "sn_id" } else { "sn" };
    report[name] = json!(vehicle.id);
    let (lat, lon) = if vehicle.has_fix { (vehicle.lat(), vehicle.lon()) } else { (0.0, 0.0) };
    if vehicle.variant.is_multiple_of(7) {
        report["position"] = json!({ "lat": lat, "lon": lon });
    } else {
        report["postion"] = json!({ "lat": lat, "lng": lon });
    }
    (report, event(vehicle, meaning(vehicle)))
}

/// An unknown type. It is stored and does not change the vehicle state.
pub fn unknown(vehicle: &Vehicle) -> (Value, Event) {
    let time = vehicle.state_ms;
    let report = json!({ "sn": vehicle.id, "type": "ota_progress", "time": time, "infoTimestamp": time, "progress": 40,
        "sequence": vehicle.sequence });
    (report, event(vehicle, Vec::new()))
}

/// A request with one report.
pub fn single((report, event): (Value, Event), credentials: &Credentials) -> Webhook {
    // Some reports are wrapped like NIU's own responses.
    let wrapped = event.seen.first().is_some_and(|seen| seen.at_ms % 16 == 0);
    let body = if wrapped { json!({ "data": report }) } else { report };
    request(&body, vec![event], credentials)
}

/// A request with an array of reports.
pub fn backlog(reports: Vec<(Value, Event)>, credentials: &Credentials) -> Webhook {
    let (bodies, events): (Vec<Value>, Vec<Event>) = reports.into_iter().unzip();
    request(&Value::Array(bodies), events, credentials)
}

fn request(body: &Value, events: Vec<Event>, credentials: &Credentials) -> Webhook {
    // Some libraries write a byte order mark, and some label every body as a form.
    let (mark, content_type) = match events.first().map_or(0, |event| event.sequence) % 8 {
        3 => ("\u{feff}", "application/json"),
        1 => ("", "application/x-www-form-urlencoded"),
        _ => ("", "application/json"),
    };
    Webhook::new(PATH, content_type, format!("{mark}{body}"), events)
        .with_credential("token", credentials.niu_token.clone())
}

fn has_padded_text(vehicle: &Vehicle) -> bool {
    vehicle.variant % 6 == 1
}

/// Whether the report has no fix time. Its position is then as old as the report.
fn sends_no_fix_time(vehicle: &Vehicle) -> bool {
    vehicle.variant % 9 == 2
}

fn event(vehicle: &Vehicle, seen: Vec<Seen>) -> Event {
    let sequence = vehicle.sequence;
    Event { vehicle: vehicle.index, sequence, seen, keeps_time: vehicle.role != Role::Skewed }
}

fn kind(vehicle: &Vehicle) -> &'static str {
    match (vehicle.reports.is_multiple_of(10), vehicle.powered_on) {
        (false, _) => "status",
        (true, true) => "acc_on",
        (true, false) => "acc_off",
    }
}

/// Whether the model reports that its alarm is armed. Some models never do.
fn arms(vehicle: &Vehicle) -> bool {
    !vehicle.variant.is_multiple_of(3)
}

fn flag(vehicle: &Vehicle, value: bool) -> Value {
    match vehicle.variant % 4 {
        0 => json!(value),
        1 => json!(if value { "1" } else { "0" }),
        _ => json!(u8::from(value)),
    }
}

fn is_dual(vehicle: &Vehicle) -> bool {
    vehicle.variant.is_multiple_of(2)
}

/// Whether the second battery of a dual-battery model is inserted. Sometimes the compartment is empty.
fn second_connected(vehicle: &Vehicle) -> bool {
    is_dual(vehicle) && !vehicle.reports.is_multiple_of(9)
}

fn batteries(vehicle: &Vehicle) -> Value {
    let compartment = |index: usize, connected: bool| {
        json!({
            "bmsId": format!("BN1GPC2B{:07}{}", vehicle.index, index), "isConnected": connected,
            "batteryCharging": vehicle.batteries[index], "gradeBattery": "99.2",
        })
    };
    let mut batteries = json!({ "compartmentA": compartment(0, true) });
    if is_dual(vehicle) {
        batteries["compartmentB"] = compartment(1, second_connected(vehicle));
    }
    batteries
}

fn meaning(vehicle: &Vehicle) -> Vec<Seen> {
    let at = |what| Seen { at_ms: vehicle.state_ms, what };
    let [first, second] = vehicle.batteries.map(f64::from);
    let battery_percent = if second_connected(vehicle) { f64::midpoint(first, second) } else { first };
    let mut seen = vec![
        at(Observation::SpeedKmh(f64::from(vehicle.speed_kmh))),
        at(Observation::BatteryPercent(battery_percent)),
        at(Observation::RangeM(vehicle.range_km() * 1_000)),
        at(Observation::OdometerM(vehicle.odometer_m)),
        at(Observation::PoweredOn(vehicle.powered_on)),
        at(Observation::Charging(vehicle.charging)),
        at(Observation::Online(vehicle.online)),
    ];
    if arms(vehicle) {
        seen.push(at(Observation::Locked(vehicle.locked)));
    }
    if vehicle.has_fix {
        let (lat, lon) = (vehicle.lat(), vehicle.lon());
        let fix = Fix { lat, lon, altitude_m: None, heading_deg: None, accuracy_m: None };
        let at_ms = if sends_no_fix_time(vehicle) { vehicle.state_ms } else { vehicle.fix_ms };
        seen.push(Seen { at_ms, what: Observation::Position(fix) });
    }
    seen
}
